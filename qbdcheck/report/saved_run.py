"""Read a saved run: the JSON report, or a bundle that has one."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from oracles.finding import Finding
from qbdcheck.errors import UsageError
from qbdcheck.report.encode import SCHEMA_VERSION
from qbdcheck.report.events import CaseEnded, RunEnded, RunStarted, TestEnded
from qbdcheck.report.tally import Tally
from qbdcheck.verdict import Verdict

_Made = TypeVar("_Made")


def read_run(path: Path) -> Tally:
    """Return the run of a report that ``--json`` or ``--bundle`` wrote.

    :raise UsageError: the file cannot be read, or is no report of this version.
    """
    try:
        whole = json.loads(_text(path))
        if whole["schema"] != SCHEMA_VERSION:
            version = f"version {whole['schema']}, this qbdcheck reads {SCHEMA_VERSION}"
            raise UsageError(f"{path} is a report of {version}")
        run, end = whole["run"], whole["end"]
        return Tally(
            run=_made(RunStarted, run) if run else None,
            end=_made(RunEnded, end) if end else None,
            cases=[_case(members) for members in whole["cases"]],
        )
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, LookupError, TypeError, zipfile.BadZipFile) as error:
        raise UsageError(
            f"{path} is no report of ./check --json and no bundle: {type(error).__name__}: {error}"
        ) from None


def is_run(path: Path) -> bool:
    """Return whether a file begins as a report or a bundle does, rather than as an image."""
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError:
        return False
    return head.startswith(b"PK\x03\x04") or head.lstrip().startswith(b'{\n "schema"')


def _text(path: Path) -> str:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as bundle:
            return bundle.read("report.json").decode()
    return path.read_text(encoding="utf-8")


def _case(members: Mapping[str, Any]) -> CaseEnded:
    changed = {
        **members,
        "verdict": Verdict[members["verdict"].upper()],
        "tests": tuple(_made(TestEnded, one) for one in members["tests"]),
        "findings": tuple(Finding.from_json(one) for one in members["findings"]),
    }
    return _made(CaseEnded, changed)


def _made(kind: type[_Made], members: Mapping[str, Any]) -> _Made:
    """Return an object of a dataclass; lists become tuples, unknown members are left out."""
    names = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    values = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in members.items()
        if name in names
    }
    return kind(**values)
