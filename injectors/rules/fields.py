"""The keys of a rule: how each value is read, written and described.

One table serves YAML, QMP arguments and the JSON Schema.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from blockio.sizes import parse_size
from injectors.rules.actions import ACTIONS
from injectors.rules.errors import KeyProblem, meant
from injectors.rules.events import EVENTS, IoType, event_name
from injectors.rules.fault import SECTOR, Errno, Fault
from injectors.rules.model import Rule, SetState, Span, errno_name, errno_number, point

_ON = {"on": True, "yes": True, "true": True, "off": False, "no": False, "false": False}
LARGEST = (1 << 64) - 1
T = TypeVar("T")


class Key(NamedTuple):
    """A key of a rule: its field, the reader of its value, its JSON Schema, its meaning."""

    field: str
    read: Callable[[Any], Any]
    schema: dict[str, Any]
    about: str


# -- values


def _whole(least: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= LARGEST:
            raise ValueError(f"{value!r} is not a whole number of at least {least}")
        return value

    return read


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is not a number")
    return value


def _switch(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _ON:
        return _ON[value.lower()]
    raise ValueError(f"{value!r} is neither true nor false")


def _text(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z_][\w.-]*", value):
        raise ValueError(f"{value!r} is not a name: use a letter, then letters, digits, and . _ -")
    return value


def _event(value: Any) -> str:
    try:
        return event_name(str(value))
    except ValueError:
        raise ValueError(f"{value!r} is not one of {', '.join(sorted(EVENTS))}") from None


def _errno(value: Any) -> Errno:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"{value!r} is not an errno: use a name such as ENOSPC, or a number")
    number = errno_number(value)
    if not 0 <= number <= 4095:
        raise ValueError(f"{value!r} is not an errno: use a number from 0 to 4095")
    return Errno(number)


def _choice(allowed: tuple[str, ...]) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in allowed:
            raise ValueError(f"{value!r} is not one of {', '.join(allowed)}")
        return str(value)

    return read


def _iotypes(value: Any) -> frozenset[IoType]:
    wanted = value if isinstance(value, list) else [value]
    try:
        found = frozenset(IoType(one) for one in wanted)
    except ValueError:
        found = frozenset()
    if not found:
        raise ValueError(f"{value!r} is not one of {', '.join(_IOTYPES)}, or a list of them")
    return found


def _connections(value: Any) -> frozenset[int]:
    wanted = value if isinstance(value, list) else [value]
    return frozenset(map(_whole(1), wanted))


def _size(text: str, unit: int) -> int:
    """Return bytes; a number without a unit counts in ``unit`` bytes."""
    stripped = text.strip()
    if stripped.isascii() and stripped.isdigit():
        return int(stripped) * unit
    return parse_size("".join(stripped.split()))


def _spans(unit: int) -> Callable[[Any], tuple[Span, ...]]:
    """Parse ranges in sectors or bytes: 7, "8-15", "1M+64K", or a list of these."""

    def one(value: Any) -> Span:
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return point(value) if unit == SECTOR else (value, value + 1)
        if not isinstance(value, str):
            raise ValueError(f"{value!r} is not a range: use 7, 8-15 or 1M+64K")
        if "+" in value:
            first, length = value.split("+", 1)
            start = _size(first, unit)
            span = (start, start + _size(length, unit))
        elif "-" in value:
            first, last = value.split("-", 1)
            span = (_size(first, unit), _size(last, unit) + unit)
        else:
            start = _size(value, unit)
            span = (start, start + 1)
        if not span[0] < span[1] <= 1 << 63:
            raise ValueError(f"{value!r} is not an ascending range below 2^63 bytes")
        return span

    def read(value: Any) -> tuple[Span, ...]:
        wanted = value if isinstance(value, list) else [value]
        if not wanted:
            raise ValueError("an empty list matches no request; omit the key for any request")
        return tuple(map(one, wanted))

    return read


_IOTYPES = [kind.value for kind in IoType]
_RANGE = {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string"}]}
_POSITIVE = {"type": "integer", "minimum": 1}
_SCHEMA_ERRNO = {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 4095},
                           {"type": "string", "pattern": "^E[A-Z0-9]+$"}]}  # fmt: skip


def _or_list(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "array", "items": schema, "minItems": 1}]}


EVENT = Key("event", _event, {"enum": sorted(EVENTS)}, "the event that arms the rule")
STATE = Key("state", _whole(0), {"type": "integer", "minimum": 0},
            "state in which the event arms the rule; 0 is any")  # fmt: skip
CONDITIONS: dict[str, Key] = {
    "event": EVENT,
    "state": STATE,
    "iotype": Key("iotypes", _iotypes, _or_list({"enum": _IOTYPES}),
                  "kinds of request; default: all but block-status"),
    "sector": Key("spans", _spans(SECTOR), _or_list(_RANGE),
                  "sectors of 512 bytes: 7 (its first byte, as in blkdebug), 8-15, 2048+8"),
    "offset": Key("spans", _spans(1), _or_list(_RANGE), "bytes: 4096, 0-4095, 1M+64K"),
    "once": Key("once", _switch, {"type": "boolean"}, "the rule ends after its first fault"),
    "count": Key("count", _whole(1), _POSITIVE, "the rule ends after this many faults"),
    "after": Key("after", _whole(0), {"type": "integer", "minimum": 0},
                 "number of matching requests that are spared first"),
    "every": Key("every", _whole(1), _POSITIVE,
                 "then one in n matching requests, beginning with the next"),
    "probability": Key("probability", _number,
                       {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
                       "probability of a fault for each matching request, drawn from the seed"),
    "connection": Key("connections", _connections, _or_list(_POSITIVE),
                      "numbers of connections, counted from 1"),
    "may_not_fire": Key("may_not_fire", _switch, {"type": "boolean"},
                        "a case is not BROKEN if the rule never fires"),
    "id": Key("name", _text, {"type": "string"}, "name of the rule; default: rule1, rule2, ..."),
}  # fmt: skip
"""Keys of every rule except ``action``."""
STATE_KEYS: dict[str, Key] = {
    "event": EVENT,
    "state": STATE,
    "new_state": Key("new_state", _whole(0), {"type": "integer", "minimum": 0}, "state to go to"),
}
"""Keys of a change of state."""


def fault_keys(kind: type[Fault]) -> dict[str, Key]:
    """Return the keys of a kind of fault, from the types of its fields."""
    hints = get_type_hints(kind, include_extras=True)
    found = {}
    for field in fields(kind):
        found[field.name] = _fault_key(field.name, hints[field.name])
        if field.default is not MISSING and field.default is not None:
            found[field.name].schema["default"] = field.default
    return found


def _fault_key(name: str, hint: Any) -> Key:
    if get_origin(hint) in {Union, types.UnionType}:
        hint = next(one for one in get_args(hint) if one is not type(None))
    if get_origin(hint) is Literal:
        allowed = get_args(hint)
        return Key(name, _choice(allowed), {"enum": list(allowed)}, "")
    kinds: dict[Any, tuple[Callable[[Any], Any], dict[str, Any]]] = {
        Errno: (_errno, _SCHEMA_ERRNO),
        int: (_whole(-LARGEST), {"type": "integer"}),
        float: (_number, {"type": "number"}),
        bool: (_switch, {"type": "boolean"}),
    }
    read, schema = kinds[hint]
    return Key(name, read, dict(schema), "")


# -- rules


def rule_from(values: Mapping[str, Any]) -> Rule:
    """Return the rule of a mapping.

    :raise KeyProblem: a key or value is wrong; lists what is allowed.
    """
    given = normal_keys(values)
    action = given.pop("action", "error")
    if not isinstance(action, str) or action not in ACTIONS:
        raise KeyProblem("action", f"{action!r} is not one of {', '.join(ACTIONS)}")
    kind = ACTIONS[action]
    own = fault_keys(kind)
    unknown = [key for key in given if key not in CONDITIONS and key not in own]
    if unknown:
        allowed = ", ".join(["action", *own, *CONDITIONS])
        hint = meant(unknown[0], ("action", *own, *CONDITIONS))
        why = f"unknown key{hint}; a rule of action {action} has {allowed}"
        raise KeyProblem(unknown[0], why)
    if "event" not in given:
        raise KeyProblem("", "event is required")
    if "sector" in given and "offset" in given:
        raise KeyProblem("offset", "use sector or offset, not both")
    fault = _made(kind, _read({key: given[key] for key in given if key in own}, own))
    conditions = {key: given[key] for key in given if key not in own}
    return _made(Rule, {"fault": fault} | _read(conditions, CONDITIONS))


def state_from(values: Mapping[str, Any]) -> SetState:
    """Return the change of state of a mapping.

    :raise KeyProblem: a key or value is wrong; lists what is allowed.
    """
    given = normal_keys(values)
    for key in given:
        if key not in STATE_KEYS:
            hint = meant(key, STATE_KEYS)
            allowed = ", ".join(STATE_KEYS)
            raise KeyProblem(key, f"unknown key{hint}; a change of state has {allowed}")
    for key in ("event", "new_state"):
        if key not in given:
            raise KeyProblem("", f"{key} is required")
    return _made(SetState, _read(given, STATE_KEYS))


def normal_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping whose keys have underscores; may-not-fire means may_not_fire."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = str(key).replace("-", "_")
        if name in found:
            raise KeyProblem(str(key), "is given twice; remove one")
        found[name] = value
    return found


def _read(values: Mapping[str, Any], keys: Mapping[str, Key]) -> dict[str, Any]:
    found = {}
    for key, value in values.items():
        try:
            found[keys[key].field] = keys[key].read(value)
        except ValueError as error:
            raise KeyProblem(key, str(error)) from None
    return found


def _made(kind: type[T], values: dict[str, Any]) -> T:
    try:
        return kind(**values)
    except ValueError as error:
        raise KeyProblem("", str(error)) from None


# -- writing


def to_mapping(rule: Rule) -> dict[str, Any]:
    """Return a rule as a mapping, without defaults."""
    found: dict[str, Any] = {"id": rule.name} if rule.name else {}
    found["event"] = rule.event
    if rule.fault.action != "error":
        found["action"] = rule.fault.action
    for field in fields(rule.fault):
        value = getattr(rule.fault, field.name)
        if value != field.default or (field.name == "errno" and rule.fault.action == "error"):
            found[field.name] = errno_name(value) if field.name == "errno" else value
    for field in fields(Rule):
        value = getattr(rule, field.name)
        if field.name in _WRITERS:
            found |= _WRITERS[field.name](value) if value is not None else {}
        elif field.name in CONDITIONS and field.name != "event" and value != field.default:
            found[field.name] = value
    return found


def _write_spans(spans: tuple[Span, ...]) -> dict[str, Any]:
    if any(first % SECTOR or (end % SECTOR and end != first + 1) for first, end in spans):
        return {"offset": _single([f"{first}-{end - 1}" for first, end in spans])}
    return {"sector": _single([_write_sectors(*span) for span in spans])}


def _write_sectors(first: int, end: int) -> int | str:
    if end == first + 1:
        return first // SECTOR
    return f"{first // SECTOR}-{end // SECTOR - 1}"


def _single(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values


_WRITERS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "iotypes": lambda kinds: {"iotype": _single(sorted(kind.value for kind in kinds))},
    "spans": _write_spans,
    "connections": lambda numbers: {"connection": _single(sorted(numbers))},
}


def state_to_mapping(change: SetState) -> dict[str, Any]:
    """Return a change of state as a mapping."""
    found = {"event": change.event, "state": change.state, "new_state": change.new_state}
    return found if change.state else {key: found[key] for key in ("event", "new_state")}
