"""Convert rules to options of QEMU's blkdebug, as far as it can express them.

qapi/block-core.json, BlockdevOptionsBlkdebug and BlkdebugInjectErrorOptions.
"""

from __future__ import annotations

from typing import Any

from injectors.error import Error
from injectors.rules.errors import NotExpressible
from injectors.rules.fault import SECTOR
from injectors.rules.model import Rule, RuleSet


def blkdebug_options(rule: Rule) -> dict[str, Any]:
    """Return one rule as BlkdebugInjectErrorOptions, without defaults.

    :raise NotExpressible: blkdebug cannot express the rule; the message says why.
    """
    beyond = _beyond(rule)
    if beyond:
        name = f"rule {rule.name or rule.event}"
        raise NotExpressible(f"{name}: QEMU's blkdebug has no {', no '.join(beyond)}")
    assert isinstance(rule.fault, Error)
    options: dict[str, Any] = {"event": rule.event, "errno": int(rule.fault.errno)}
    if rule.state:
        options["state"] = rule.state
    if rule.iotypes is not None:
        options["iotype"] = next(iter(rule.iotypes)).value
    if rule.spans is not None:
        options["sector"] = rule.spans[0][0] // SECTOR
    return options | {
        key: True
        for key, on in (("once", rule.limit == 1), ("immediately", rule.fault.immediately))
        if on
    }


def _beyond(rule: Rule) -> list[str]:
    """Return the parts of a rule that blkdebug cannot express."""
    fault, spans = rule.fault, rule.spans or ()
    points = all(first % SECTOR == 0 and end == first + 1 for first, end in spans)
    found = [
        (not isinstance(fault, Error), f"action {fault.action}"),
        (isinstance(fault, Error) and fault.when != "before", "error after the request"),
        (not points, "range of several sectors, nor of bytes"),
        (len(spans) > 1, "list of sectors"),
        (rule.iotypes is not None and len(rule.iotypes) != 1, "list of iotypes"),
        (rule.probability != 1, "probability"),
        (rule.after != 0, "after"),
        (rule.every != 1, "every"),
        (rule.count not in {None, 1}, "count"),
        (rule.connections is not None, "connection"),
    ]
    return [what for is_beyond, what in found if is_beyond]


def to_blockdev(rules: RuleSet, image: str | dict[str, Any]) -> dict[str, Any]:
    """Return blockdev options of a blkdebug node over ``image`` (a node name or options).

    :raise NotExpressible: blkdebug cannot express a rule.
    """
    options: dict[str, Any] = {"driver": "blkdebug", "image": image}
    if rules.rules:
        options["inject-error"] = [blkdebug_options(rule) for rule in rules.rules]
    if rules.states:
        options["set-state"] = [
            {"event": change.event, "state": change.state, "new_state": change.new_state}
            for change in rules.states
        ]
    return options
