"""Describe rules in words."""

from __future__ import annotations

from collections.abc import Sequence

from injectors.rules.compile import blkdebug_options
from injectors.rules.errors import NotExpressible
from injectors.rules.events import EVENTS, EVERY_OPEN, IoType
from injectors.rules.fields import to_mapping
from injectors.rules.model import Rule, RuleSet, SetState

_KINDS = {
    IoType.READ: "read",
    IoType.WRITE: "write",
    IoType.WRITE_ZEROES: "write-zeroes",
    IoType.DISCARD: "discard",
    IoType.FLUSH: "flush",
    IoType.BLOCK_STATUS: "block-status",
}


def explain(rules: RuleSet) -> str:
    """Return sentences that describe each rule, and notes on surprising consequences."""
    parts = [] if rules.seed is None else [f"Random choices are drawn from seed {rules.seed}."]
    parts += [_rule(number, rule) for number, rule in enumerate(rules.rules, 1)]
    parts += [_state(change) for change in rules.states]
    parts += _surprises(rules)
    return "\n".join(parts) + "\n" if parts else "There are no rules.\n"


def _rule(number: int, rule: Rule) -> str:
    lines = [
        f"{rule.name or f'Rule {number}'}: {_when(rule)}.",
        f"  {_which(rule)} {rule.fault.describe()}.",
    ]
    if rule.limit is not None:
        lines.append(f"  It ends after {_times(rule.limit)}.")
    if rule.may_not_fire:
        lines.append("  A case is not BROKEN if it never fires.")
    try:
        blkdebug_options(rule)
    except NotExpressible as error:
        lines.append(f"  Not for QEMU's blkdebug, which {str(error).partition('blkdebug ')[2]}.")
    return "\n".join(lines)


def _when(rule: Rule) -> str:
    state = f" in state {rule.state}" if rule.state else ""
    if rule.event == EVERY_OPEN:
        return f"armed from the start{state}"
    return f"armed when {rule.event} fires{state} ({EVENTS[rule.event]})"


def _which(rule: Rule) -> str:
    kinds = _listed([_KINDS[kind] for kind in IoType if kind in rule.kinds], "or")
    where = ""
    if rule.spans is not None:
        key, value = next(
            (key, value) for key, value in to_mapping(rule).items() if key in {"sector", "offset"}
        )
        unit = "sector" if key == "sector" else "byte"
        many = isinstance(value, list) or "-" in str(value)
        where = f" that touches {unit}{'s' if many else ''} "
        where += _listed([str(one) for one in (value if isinstance(value, list) else [value])])
    who = ""
    if rule.connections is not None:
        who = f" on connection {_listed([str(one) for one in sorted(rule.connections)], 'or')}"
    chance = (
        f", with a probability of {rule.probability * 100:g} %," if rule.probability < 1 else ""
    )
    return f"{_how_often(rule)} {kinds}{where}{who}{chance}"


def _how_often(rule: Rule) -> str:
    each = "each" if rule.every == 1 else f"one in {rule.every}, a"
    text = f"after {rule.after} that are spared, {each}" if rule.after else each
    return text[0].upper() + text[1:]


def _times(count: int) -> str:
    return "one fault" if count == 1 else f"{count} faults"


def _state(change: SetState) -> str:
    where = f" in state {change.state}" if change.state else ""
    return f"When {change.event} fires{where}, the state becomes {change.new_state}."


def _surprises(rules: RuleSet) -> list[str]:
    """Return notes on blkdebug's semantics that users often miss, if they concern these rules."""
    found = []
    events = {rule.event for rule in rules.rules}
    broad = [rule for rule in rules.rules if rule.event != EVERY_OPEN and len(rule.kinds) > 1]
    if broad:
        found.append(
            "Note: an armed rule stays armed until an event arms other rules. A rule without "
            "iotype therefore also applies to later requests of other kinds."
        )
    if EVERY_OPEN in events and len(events) > 1:
        found.append(
            "Note: the rules of event none are disarmed permanently when another event arms rules."
        )
    reached = {1} | {change.new_state for change in rules.states}
    found += [
        f"Note: no change leads to state {rule.state}: {rule.name or f'rule {number}'} never fires."
        for number, rule in enumerate(rules.rules, 1)
        if rule.state and rule.state not in reached
    ]
    return found


def _listed(words: Sequence[str], last: str = "and") -> str:
    if len(words) == 1:
        return words[0]
    return f"{', '.join(words[:-1])} {last} {words[-1]}"
