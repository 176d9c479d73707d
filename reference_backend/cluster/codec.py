"""Messages as lines of JSON, between the processes of a cluster."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import Any, get_args

from reference_backend.cluster import messages as m

_TYPES: dict[str, type[Any]] = {
    one.__name__: one for one in (*get_args(m.Message), m.State, m.Record)
}


def encode(sender: int, message: m.Message) -> bytes:
    """Return one line: the sender and a message."""
    return json.dumps([sender, _plain(message)], separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> tuple[int, m.Message]:
    """Return the sender and the message of a line.

    :raise ValueError: it is not a line that `encode` made.
    """
    try:
        sender, value = json.loads(line)
        message: m.Message = _value(value)
    except (TypeError, KeyError, IndexError) as error:
        raise ValueError(f"not a message of a cluster: {line[:60]!r}") from error
    return int(sender), message


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return {"b": b64encode(value).decode()}
    if isinstance(value, tuple):
        name = type(value).__name__
        items = [_plain(one) for one in value]
        return {"t": name, "v": items} if name in _TYPES else items
    return value


def _value(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_value(one) for one in value)
    if isinstance(value, dict):
        if "b" in value:
            return b64decode(value["b"])
        return _TYPES[value["t"]](*map(_value, value["v"]))
    return value
