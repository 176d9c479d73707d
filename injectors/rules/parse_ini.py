"""Read and write blkdebug.conf, QEMU's own form (docs/devel/blkdebug.txt, util/qemu-config.c).

As in QEMU, what follows a header or a quoted value on its line is ignored, and of a key that is
given twice the last value counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from injectors.error import Error
from injectors.rules.compile import blkdebug_options
from injectors.rules.errors import RuleSyntaxError, meant
from injectors.rules.events import EVENTS, IoType, event_name
from injectors.rules.model import Rule, RuleSet, SetState, Span, point

_SECTION = re.compile(r"\[\s*([\w-]+)(?:\s+\"[^\"]*\")?\s*\]")
_PAIR = re.compile(r"([\w.-]+)\s*=\s*\"([^\"]*)\"")
_FAULT_INJECTOR = re.compile(r"event\s*=\s*(neg1|neg2|neg-classic|export|request|reply|data)$")
"""A line of a file for nbd-fault-injector.py of QEMU's iotests, whose sections are the same."""
_ON = {"on": True, "yes": True, "true": True, "y": True}
_OFF = {"off": False, "no": False, "false": False, "n": False}


def _switch(text: str) -> bool:
    if text in _ON or text in _OFF:
        return text in _ON
    raise ValueError(f"{text!r} is neither on nor off")


def _number(text: str) -> int:
    """Return a number as strtoull with base 0 reads it, like QEMU: 28, 0x1c, 034."""
    match = re.fullmatch(r"([+-]?)(?:0[xX]([0-9a-fA-F]+)|(0[0-7]*)|([1-9][0-9]*))", text)
    if not match:
        raise ValueError(f"{text!r} is not a number")
    sign, hexadecimal, octal, decimal = match.groups()
    value = int(hexadecimal or octal or decimal, 16 if hexadecimal else 8 if octal else 10)
    return -value if sign == "-" else value


def _point(text: str) -> tuple[Span, ...] | None:
    sector = _number(text)
    return None if sector < 0 else (point(sector),)


def _iotype(text: str) -> frozenset[IoType]:
    try:
        return frozenset({IoType(text)})
    except ValueError:
        allowed = ", ".join(kind.value for kind in IoType)
        raise ValueError(f"iotype {text!r} is not one of {allowed}") from None


def _event(text: str) -> str:
    try:
        return event_name(text)
    except ValueError:
        raise ValueError(f"event {text!r} is not one of {', '.join(sorted(EVENTS))}") from None


_KEYS: dict[str, dict[str, tuple[str, Callable[[str], Any]]]] = {
    "inject-error": {
        "event": ("event", _event),
        "state": ("state", _number),
        "iotype": ("iotypes", _iotype),
        "errno": ("errno", _number),
        "sector": ("spans", _point),
        "once": ("once", _switch),
        "immediately": ("immediately", _switch),
    },
    "set-state": {
        "event": ("event", _event),
        "state": ("state", _number),
        "new_state": ("new_state", _number),
    },
}


def read(text: str, source: str = "blkdebug.conf") -> RuleSet:
    """Return the rules of a blkdebug.conf.

    :raise RuleSyntaxError: the text is wrong; names the line and what is allowed.
    """
    sections: list[tuple[str, int, dict[str, Any]]] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if header := _SECTION.match(line):
            if header[1] not in _KEYS:
                raise RuleSyntaxError(source, number, f"[{header[1]}]: use {', '.join(_KEYS)}")
            sections.append((header[1], number, {}))
        elif _FAULT_INJECTOR.match(line):
            why = (
                "this is a file for QEMU's nbd-fault-injector.py, not for blkdebug; see the action"
            )
            raise RuleSyntaxError(source, number, f"{line}: {why} disconnect in docs/rules.md")
        elif not (pair := _PAIR.match(line)):
            raise RuleSyntaxError(source, number, f'{line}: expected [section] or key = "value"')
        elif not sections:
            raise RuleSyntaxError(source, number, f"{pair[1]} comes before any [section]")
        else:
            _take(sections[-1], pair[1], pair[2], source, number)
    return _rules(sections, source)


def _take(
    section: tuple[str, int, dict[str, Any]], key: str, text: str, source: str, line: int
) -> None:
    name, _, values = section
    if key not in _KEYS[name]:
        allowed = ", ".join(_KEYS[name])
        why = f"unknown key {key} in [{name}]{meant(key, _KEYS[name])}: allowed are {allowed}"
        raise RuleSyntaxError(source, line, why)
    field, convert = _KEYS[name][key]
    try:
        values[field] = convert(text)
    except ValueError as error:
        raise RuleSyntaxError(source, line, f"{key}: {error}") from None


def _rules(sections: list[tuple[str, int, dict[str, Any]]], source: str) -> RuleSet:
    inject, states = [], []
    for name, line, values in sections:
        if "event" not in values:
            raise RuleSyntaxError(source, line, f"[{name}]: event is required")
        if name == "inject-error":
            own = {key: values.pop(key) for key in ("errno", "immediately") if key in values}
            inject.append(Rule(fault=Error(**own), **values))
        else:
            states.append(SetState(**{"new_state": 0} | values))
    return RuleSet(tuple(inject), tuple(states))


def write(rules: RuleSet) -> str:
    """Return the rules as blkdebug.conf.

    :raise NotExpressible: blkdebug cannot express a rule.
    """
    blocks = []
    for options in map(blkdebug_options, rules.rules):
        lines = [f'{key} = "{"on" if value is True else value}"' for key, value in options.items()]
        blocks.append("\n".join(["[inject-error]", *lines]) + "\n")
    for change in rules.states:
        state = f'state = "{change.state}"\n' if change.state else ""
        target = f'new_state = "{change.new_state}"\n'
        blocks.append(f'[set-state]\nevent = "{change.event}"\n{state}{target}')
    return "\n".join(blocks)
