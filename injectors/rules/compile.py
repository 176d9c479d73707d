"""Rules as options of a blkdebug node (qapi/block-core.json, BlockdevOptionsBlkdebug)."""

from __future__ import annotations

from typing import Any

from injectors.rules.errors import NotExpressible
from injectors.rules.events import DEFAULT_IOTYPES
from injectors.rules.model import InjectError, RuleSet
from injectors.rules.parse_ini import only_iotype


def to_blockdev(rules: RuleSet, image: str | dict[str, Any]) -> dict[str, Any]:
    """Return blockdev options of a blkdebug node over ``image`` (a node name or options).

    :raise NotExpressible: a rule says more than blkdebug of QEMU knows.
    """
    options: dict[str, Any] = {"driver": "blkdebug", "image": image}
    if rules.inject:
        options["inject-error"] = [_inject(rule, n) for n, rule in enumerate(rules.inject, 1)]
    if rules.states:
        options["set-state"] = [
            {"event": change.event, "state": change.state, "new_state": change.new_state}
            for change in rules.states
        ]
    return options


def _inject(rule: InjectError, number: int) -> dict[str, Any]:
    if not rule.is_plain:
        why = "blkdebug has no sector ranges, probability, after, every or count"
        raise NotExpressible(f"rule {number} ({rule.event}): {why}")
    options: dict[str, Any] = {
        "event": rule.event, "errno": rule.errno, "state": rule.state,
        "once": rule.once, "immediately": rule.immediately,
    }
    if rule.iotypes != DEFAULT_IOTYPES:
        options["iotype"] = only_iotype(rule, number).value
    if rule.sectors is not None:
        options["sector"] = rule.sectors[0][0]
    return options
