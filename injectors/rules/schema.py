"""The JSON Schema of a rules file, for editors; docs/rules.schema.json is generated from it."""

from __future__ import annotations

import json
import sys
from typing import Any

from injectors.rules.actions import ACTIONS
from injectors.rules.fault import Fault
from injectors.rules.fields import CONDITIONS, STATE_KEYS, Key, fault_keys


def schema() -> dict[str, Any]:
    """Return the schema (draft 7, which editors support best)."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "qbdcheck rules",
        "description": "Faults to inject, and when; manual: docs/rules.md",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "seed": {
                "type": "integer",
                "minimum": 0,
                "description": "seed of probabilities and choices",
            },
            "rules": {"type": "array", "items": {"oneOf": list(map(_action, ACTIONS.values()))}},
            "states": {"type": "array", "items": _mapping(STATE_KEYS, ["event", "new_state"])},
        },
        "definitions": {name: _value(key) for name, key in (CONDITIONS | STATE_KEYS).items()},
    }


def text() -> str:
    """Return the text of the schema file."""
    return json.dumps(schema(), indent=1) + "\n"


def _action(kind: type[Fault]) -> dict[str, Any]:
    own = fault_keys(kind)
    found = _mapping(CONDITIONS | own, ["event"] if kind.action == "error" else ["event", "action"])
    found["properties"]["action"] = {"const": kind.action}
    found["title"] = kind.action
    found["description"] = sys.modules[kind.__module__].__doc__
    return found


def _value(key: Key) -> dict[str, Any]:
    return key.schema | ({"description": key.about} if key.about else {})


def _mapping(keys: dict[str, Key], required: list[str]) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for name, key in keys.items():
        shared = (CONDITIONS | STATE_KEYS).get(name) is key
        value = {"$ref": f"#/definitions/{name}"} if shared else _value(key)
        for spelling in {name: None, name.replace("_", "-"): None}:
            properties[spelling] = value
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required,
        "properties": properties,
    }
