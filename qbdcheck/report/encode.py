"""Events as JSON objects. The keys are the fields of `events.py`; they are a public interface.

docs/report.schema.json describes them; `qbdcheck.report.schema` makes it.

Every object has ``event`` (``run_started``, ``case_started``, ``guest_test_ended``,
``case_postponed``, ``case_ended``, ``case_retried``, ``case_experiment``, ``run_ended``).
``verdict`` is one of ``pass``, ``fail``, ``broken``, ``not_run``. Times end in ``_s`` (seconds).
"""

from __future__ import annotations

import dataclasses
import re

from oracles.finding import Finding
from qbdcheck.machine_speed import Load
from qbdcheck.report.events import (
    CaseEnded,
    Cause,
    Event,
    FirstTry,
    LooksLike,
    TestEnded,
    Trial,
)
from qbdcheck.report.redact import Redaction
from qbdcheck.verdict import Verdict

SCHEMA_VERSION = 1
"""Increased when a key changes its meaning or is removed, not when a key is added."""


def event_object(event: Event, redaction: Redaction) -> dict[str, object]:
    """Return `event` as an object for `json.dumps`, its texts redacted."""
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()
    return {"event": name, **_fields(event, redaction)}


def _fields(
    value: Event | TestEnded | Cause | LooksLike | FirstTry | Load | Trial, redaction: Redaction
) -> dict[str, object]:
    return {
        field.name: plain(getattr(value, field.name), redaction)
        for field in dataclasses.fields(value)
    }


def plain(value: object, redaction: Redaction) -> object:
    """Return `value` in the types of JSON, texts redacted; also subclasses, such as seeds.

    Times are rounded to microseconds.
    """
    made: object
    match value:
        case Verdict():
            made = value.name.lower()
        case None | bool():
            made = value
        case int():
            made = int(value)
        case float():
            made = round(value, 6)
        case tuple() | list():
            made = [plain(item, redaction) for item in value]
        case TestEnded() | Cause() | LooksLike() | FirstTry() | Load() | Trial():
            made = _fields(value, redaction)
        case Finding():
            made = plain(value.to_json(), redaction)
        case dict():
            made = {str(key): plain(item, redaction) for key, item in value.items()}
        case _:
            made = redaction.text(str(value))
    return made


def damage_words(case: CaseEnded) -> list[str]:
    """Return the kinds of damage that a case found, each once."""
    return list(dict.fromkeys(finding.damage.value for finding in case.findings))
