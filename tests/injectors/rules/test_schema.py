"""The JSON Schema: current, and in agreement with the reader."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from injectors.rules import parse_yaml, schema
from injectors.rules.errors import RuleSyntaxError
from qbdcheck.files import ROOT

PUBLISHED = ROOT / "docs/rules.schema.json"
SCHEMA = schema.schema()
TYPES = {"object": dict, "array": list, "string": str, "integer": int, "number": int | float,
         "boolean": bool}  # fmt: skip


def is_valid(value: Any, wanted: dict[str, Any]) -> bool:
    """Return whether a value is valid by the part of JSON Schema, draft 7, that the schema uses."""
    if "$ref" in wanted:
        return is_valid(value, SCHEMA["definitions"][wanted["$ref"].rpartition("/")[2]])
    if "type" in wanted:
        kind = TYPES[wanted["type"]]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            return False
    checks: dict[str, Callable[[Any], object]] = {
        "const": lambda limit: value == limit,
        "enum": lambda limit: value in limit,
        "minimum": lambda limit: value >= limit,
        "maximum": lambda limit: value <= limit,
        "exclusiveMinimum": lambda limit: value > limit,
        "pattern": lambda limit: re.search(limit, value),
        "minItems": lambda limit: len(value) >= limit,
        "anyOf": lambda limit: any(is_valid(value, one) for one in limit),
        "oneOf": lambda limit: sum(is_valid(value, one) for one in limit) == 1,
        "required": lambda limit: all(key in value for key in limit),
        "items": lambda limit: all(is_valid(one, limit) for one in value),
        "properties": lambda limit: all(is_valid(value[k], limit[k]) for k in value if k in limit),
        "additionalProperties": lambda _: value.keys() <= wanted["properties"].keys(),
    }
    assert wanted.keys() <= checks.keys() | {
        "type", "title", "description", "default", "$schema", "definitions",
    }  # fmt: skip
    return all(check(wanted[name]) for name, check in checks.items() if name in wanted)


def test_the_published_schema_is_current() -> None:
    assert PUBLISHED.read_text() == schema.text(), "./check rules schema > docs/rules.schema.json"
    assert json.loads(schema.text()) == SCHEMA


@pytest.mark.parametrize(
    "rule",
    [
        "{event: none}",
        "{event: write_aio, errno: ENOSPC, sector: 2048-4095, once: true, state: 1}",
        "{event: write_aio, errno: 28, sector: [1, 2-3], iotype: [read, write]}",
        "{event: read_aio, action: corrupt, bits: 1, probability: 0.01, iotype: read}",
        "{event: write_aio, action: torn, keep: first-sectors, count: 3, may-not-fire: true}",
        "{event: read_aio, action: disconnect, when: mid-reply, sent: 3, connection: 2}",
        "{event: write_aio, action: reorder, past_flush: true, may_not_fire: true, id: a}",
        "{event: write_aio, action: reorder, past-flush: true}",
    ],
)
def test_schema_and_reader_take_it(rule: str) -> None:
    text = f"rules: [{rule}]"
    assert is_valid(yaml.safe_load(text), SCHEMA)
    parse_yaml.read(text)


@pytest.mark.parametrize(
    "rule",
    [
        "{errno: 5}",
        "{event: reed}",
        "{event: none, errno: -1}",
        "{event: none, errno: eio}",
        "{event: none, once: 1}",
        "{event: none, count: 0}",
        "{event: none, bits: 1}",
        "{event: none, action: boom}",
        "{event: none, action: torn, keep: nothing}",
        "{event: none, iotype: all}",
        "{event: none, iotype: []}",
        "{event: none, probability: 0}",
    ],
)
def test_schema_and_reader_refuse_it(rule: str) -> None:
    text = f"rules: [{rule}]"
    assert not is_valid(yaml.safe_load(text), SCHEMA)
    with pytest.raises(RuleSyntaxError):
        parse_yaml.read(text)
