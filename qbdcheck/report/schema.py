"""The JSON Schema of the JSON and JSON-lines reports; docs/report.schema.json is made from it.

It is made from the fields of the events and of findings, so that it cannot lag behind them.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import types
import typing
from typing import Any

from oracles.finding import UNREPORTED, Finding
from qbdcheck.report.encode import SCHEMA_VERSION
from qbdcheck.report.events import (
    CaseEnded,
    CaseExperiment,
    CasePostponed,
    CaseRetried,
    CaseStarted,
    GuestTestEnded,
    RunEnded,
    RunStarted,
)
from qbdcheck.verdict import Verdict

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_PLAIN: dict[object, dict[str, Any]] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    bytes: {"type": "string", "pattern": "^([0-9a-f]{2})*$"},
    type(None): {"type": "null"},
}
_EVENTS = {
    "run_started": RunStarted,
    "case_started": CaseStarted,
    "guest_test_ended": GuestTestEnded,
    "case_postponed": CasePostponed,
    "case_ended": CaseEnded,
    "case_retried": CaseRetried,
    "case_experiment": CaseExperiment,
    "run_ended": RunEnded,
}


def schema() -> dict[str, Any]:
    """Return the schema: a whole report of ``--json``, or one line of ``--events``."""
    definitions: dict[str, Any] = {}
    for event in _EVENTS.values():
        _of_class(event, definitions)
    _of_class(Finding, definitions)["properties"]["text"] = {
        "type": "string",
        "description": "What is wrong, in words, without the place.",
    }
    definitions["Finding"]["required"].append("text")
    version = {"const": SCHEMA_VERSION}
    run = {"$ref": "#/$defs/RunStarted"}
    end = {"$ref": "#/$defs/RunEnded"}
    report = {
        "type": "object",
        "properties": {
            "schema": version,
            "run": {"anyOf": [run, {"type": "null"}]},
            "counts": _of(dict[str, int], definitions),
            "cases": {"type": "array", "items": {"$ref": "#/$defs/CaseEnded"}},
            "retries": {"type": "array", "items": {"$ref": "#/$defs/CaseRetried"}},
            "experiments": {"type": "array", "items": {"$ref": "#/$defs/CaseExperiment"}},
            "end": {"anyOf": [end, {"type": "null"}]},
        },
        "required": ["schema", "run", "counts", "cases", "retries", "end"],
    }
    lines = [_line(name, event.__name__) for name, event in _EVENTS.items()]
    lines[0]["properties"]["schema"] = version
    lines[0]["required"].append("schema")
    return {
        "$schema": _DIALECT,
        "title": f"Reports of qbdcheck, version {SCHEMA_VERSION}",
        "description": "A whole report (--json), or one line of the events (--events).",
        "anyOf": [report, *lines],
        "$defs": definitions,
    }


def text() -> str:
    """Return the schema as the text of docs/report.schema.json."""
    return json.dumps(schema(), indent=2) + "\n"


def _line(name: str, event: str) -> dict[str, Any]:
    return {
        "allOf": [{"$ref": f"#/$defs/{event}"}],
        "properties": {"event": {"const": name}},
        "required": ["event"],
    }


def _of_class(made: type, definitions: dict[str, Any]) -> dict[str, Any]:
    """Describe a dataclass, once; return what describes it."""
    if made.__name__ not in definitions:
        hints = typing.get_type_hints(made)
        definitions[made.__name__] = {}
        fields = dataclasses.fields(made)
        names = [field.name for field in fields if field.metadata != UNREPORTED]
        definitions[made.__name__] |= {
            "type": "object",
            "description": " ".join((made.__doc__ or "").split("\n\n", 1)[0].split()),
            "properties": {name: _of(hints[name], definitions) for name in names},
            "required": names,
        }
    described: dict[str, Any] = definitions[made.__name__]
    return described


def _of(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """Describe the values of a type.

    :raise TypeError: no report has values of this type.
    """
    if hint in _PLAIN:
        return _PLAIN[hint]
    if hint is Verdict:
        return {"enum": [verdict.name.lower() for verdict in Verdict]}
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return {"enum": [one.value for one in hint]}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        _of_class(hint, definitions)
        return {"$ref": f"#/$defs/{hint.__name__}"}
    return _of_generic(hint, definitions)


def _of_generic(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return {"anyOf": [_of(one, definitions) for one in arguments]}
    if origin is dict:
        return {"type": "object", "additionalProperties": _of(arguments[1], definitions)}
    if origin is tuple and arguments[-1] is Ellipsis:
        return {"type": "array", "items": _of(arguments[0], definitions)}
    if origin is tuple:
        return {
            "type": "array",
            "prefixItems": [_of(one, definitions) for one in arguments],
            "minItems": len(arguments),
            "maxItems": len(arguments),
        }
    raise TypeError(f"reports do not support values of the type {hint}")
