"""Read reports back: from the objects of `--json` and `--events` to the events of a run.

Keys that this version does not know are ignored, and missing ones have their defaults, so that
reports of other versions with the same ``schema`` can be read.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from oracles.finding import Finding
from qbdcheck.report.encode import SCHEMA_VERSION
from qbdcheck.report.events import CaseEnded, CaseExperiment, CaseRetried, RunEnded, RunStarted
from qbdcheck.report.tally import Tally
from qbdcheck.verdict import Verdict

Made = TypeVar("Made")
_ENDS: Mapping[str, type] = {
    "case_ended": CaseEnded,
    "case_retried": CaseRetried,
    "case_experiment": CaseExperiment,
    "run_ended": RunEnded,
}
_PLAIN = (bool, int, float, str)


def tally_of_text(text: str) -> Tally:
    """Return the run in the text of a report: one JSON object, or the lines of `--events`.

    :raise ValueError: it is neither; the message says what is wrong.
    """
    lines = text.splitlines()
    if lines and lines[0].startswith('{"event"'):
        return tally_of_events(lines)
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ValueError(f"is not JSON: {error}") from None
    return tally_of_report(content)


def tally_of_report(content: object) -> Tally:
    """Return the run in the object of `--json`.

    :raise ValueError: it is not a report of this version.
    """
    if not isinstance(content, dict) or "cases" not in content or "schema" not in content:
        raise ValueError("is not a report of --json: it has no schema and cases")
    _check_schema(content["schema"])
    tally = Tally()
    try:
        if content.get("run") is not None:
            tally.handle(_of_class(RunStarted, content["run"]))
        for case in content["cases"]:
            tally.handle(_of_class(CaseEnded, case))
        for retried in content.get("retries", ()):
            tally.handle(_of_class(CaseRetried, retried))
        for experiment in content.get("experiments", ()):
            tally.handle(_of_class(CaseExperiment, experiment))
        if content.get("end") is not None:
            tally.handle(_of_class(RunEnded, content["end"]))
    except KeyError as error:
        raise ValueError(f"is a damaged report: {error} is missing") from None
    except (TypeError, LookupError, AttributeError) as error:
        raise ValueError(f"is a damaged report: {error}") from None
    return tally


def tally_of_events(lines: typing.Sequence[str]) -> Tally:
    """Return the run in the lines of `--events`; the last line may be incomplete.

    :raise ValueError: a line is not an event of this version.
    """
    tally = Tally()
    for number, line in enumerate(lines, 1):
        try:
            members = json.loads(line)
            kind = members["event"]
            if kind == "run_started":
                _check_schema(members["schema"])
                tally.handle(_of_class(RunStarted, members))
            elif kind in _ENDS:
                tally.handle(_of_class(_ENDS[kind], members))
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            if number == len(lines) and number > 1:
                break
            raise ValueError(f"line {number} is not an event: {error}") from None
    return tally


def _check_schema(version: object) -> None:
    if version != SCHEMA_VERSION:
        raise ValueError(f"has schema {version}; this version reads {SCHEMA_VERSION}")


def made_of(made: type[Made], members: Mapping[str, Any]) -> Made:
    """Return an event, or a part of one, of its members in a report.

    :raise TypeError, ValueError, LookupError: the members are not those of the class.
    """
    return _of_class(made, members)


def _of_class(made: type[Made], members: Mapping[str, Any]) -> Made:
    """Return an object of a dataclass.

    :raise TypeError, ValueError, LookupError: the members are not those of the class.
    """
    hints = typing.get_type_hints(made)
    known = dataclasses.fields(made)  # type: ignore[arg-type]
    names = [field.name for field in known]
    values = {name: _of(hints[name], members[name]) for name in names if name in members}
    for field in known:
        has_default = {field.default, field.default_factory} != {dataclasses.MISSING}
        if field.name not in members and not has_default:
            whose = members.get("case_id", members.get("event", made.__name__))
            raise TypeError(f"{whose} has no {field.name!r}")
    return made(**values)


def _of(hint: Any, value: Any) -> Any:
    """Return `value`, as JSON has it, in the type of `hint`."""
    if hint is Verdict:
        return Verdict[str(value).upper()]
    if hint is Finding:
        return Finding.from_json(value)
    if hint in _PLAIN:
        if hint is float and isinstance(value, int):
            return float(value)
        if not isinstance(value, hint):
            raise TypeError(f"{value!r} is not a {hint.__name__}")
        return value
    if isinstance(hint, type) and (issubclass(hint, enum.Enum) or dataclasses.is_dataclass(hint)):
        return hint(value) if issubclass(hint, enum.Enum) else _of_class(hint, value)
    return _of_generic(hint, value)


def _of_generic(hint: Any, value: Any) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        inner = [one for one in arguments if one is not type(None)]
        return None if value is None else _of(inner[0], value)
    if origin is dict:
        return {str(key): _of(arguments[1], one) for key, one in value.items()}
    if origin is tuple:
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else arguments
        return tuple(_of(kind, one) for kind, one in zip(kinds, value, strict=True))
    raise TypeError(f"reports do not have values of the type {hint}")
