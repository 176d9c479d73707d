"""Baselines: samples of earlier runs, kept for each machine and target in one JSON file.

A machine is known by its fingerprint: processor, cores, memory, kernel, and the versions of the
tools. A baseline of another machine is never compared, because its figures mean nothing here.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pydantic
from pydantic import BaseModel, ConfigDict

from qbdcheck.errors import UsageError
from qbdcheck.files import why_unreadable
from qbdcheck.perf.rounds import Measured
from qbdcheck.perf.sample import Sample
from qbdcheck.perf.shapes import Shape
from qbdcheck.programs.process import run
from qbdcheck.report.host import machine_facts

VERSION = 1
_KEPT_ROUNDS = 100
"""Of each shape the newest samples."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Sample(_Strict):
    """A sample without its latencies."""

    requests: int
    seconds: float
    bytes_done: int
    server_s: float | None
    client_s: float
    others: float
    unit_s: float


class _Row(_Strict):
    tool: str
    rw: str
    block: int
    depth: int
    jobs: int
    samples: list[_Sample]


class _Machine(_Strict):
    facts: dict[str, str]
    targets: dict[str, list[_Row]] = {}
    growth: dict[str, dict[str, float]] = {}
    """For each target the exponents by the name of their axis."""


class Baselines(_Strict):
    """The whole file. ``machines`` is by fingerprint, their ``targets`` by name and place."""

    version: int = VERSION
    machines: dict[str, _Machine] = {}


def machine() -> dict[str, str]:
    """Return the facts that make the figures of two runs comparable."""
    return {
        **machine_facts(),
        "cores": str(len(os.sched_getaffinity(0))),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "fio": _version(["fio", "--version"]),
        "qemu-img": _version(["qemu-img", "--version"]),
    }


def _version(argv: list[str]) -> str:
    lines = run(argv, check=False).stdout.splitlines()
    return lines[0].strip() if lines else ""


def fingerprint(facts: Mapping[str, str]) -> str:
    """Return the fingerprint of a machine: 12 hexadecimal digits."""
    return hashlib.sha256(json.dumps(sorted(facts.items())).encode()).hexdigest()[:12]


def read(file: Path) -> Baselines:
    """Return what a file has; nothing if it does not exist.

    :raise UsageError: the file is no file of baselines; one line with its name.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Baselines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--baseline {file}: {why_unreadable(error)}") from None
    try:
        found = Baselines.model_validate_json(text)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        fix = "take another file, or remove it and use --update-baseline"
        raise UsageError(
            f"--baseline {file}: not a file of ./check perf: {where}: {first['msg']}; {fix}"
        ) from None
    if found.version != VERSION:
        raise UsageError(f"--baseline {file}: version {found.version}; this is version {VERSION}")
    return found


def find(baselines: Baselines, facts: Mapping[str, str], key: str) -> Measured | None:
    """Return the samples of a target on this machine; None if there are none."""
    known = baselines.machines.get(fingerprint(facts))
    rows = known.targets.get(key) if known is not None else None
    if rows is None:
        return None
    samples = {
        Shape(row.tool, row.rw, row.block, row.depth, row.jobs): [
            Sample(**one.model_dump()) for one in row.samples
        ]
        for row in rows
    }
    return Measured(tuple(samples), {key: samples})


def add(
    baselines: Baselines, facts: Mapping[str, str], key: str, samples: Mapping[Shape, list[Sample]]
) -> None:
    """Replace the samples of a target on this machine; shapes that were not measured stay."""
    known = baselines.machines.setdefault(fingerprint(facts), _Machine(facts=dict(facts)))
    fresh = [_row(shape, found) for shape, found in samples.items()]
    names = {(one.tool, one.rw, one.block, one.depth, one.jobs) for one in fresh}
    kept = [
        row
        for row in known.targets.get(key, [])
        if (row.tool, row.rw, row.block, row.depth, row.jobs) not in names
    ]
    known.targets[key] = [*kept, *fresh]


def growth_of(
    baselines: Baselines, facts: Mapping[str, str], target: str
) -> dict[str, float] | None:
    """Return the exponents of a target's growth on this machine; None if there are none."""
    known = baselines.machines.get(fingerprint(facts))
    return known.growth.get(target) if known is not None else None


def add_growth(
    baselines: Baselines, facts: Mapping[str, str], target: str, exponents: Mapping[str, float]
) -> None:
    """Replace the exponents of a target's growth on this machine."""
    known = baselines.machines.setdefault(fingerprint(facts), _Machine(facts=dict(facts)))
    known.growth[target] = dict(exponents)


def _row(shape: Shape, samples: list[Sample]) -> _Row:
    values: list[dict[str, Any]] = [
        {name: getattr(one, name) for name in _Sample.model_fields}
        for one in samples[-_KEPT_ROUNDS:]
    ]
    return _Row(
        tool=shape.tool,
        rw=shape.rw,
        block=shape.block,
        depth=shape.depth,
        jobs=shape.jobs,
        samples=[_Sample(**one) for one in values],
    )


def write(file: Path, baselines: Baselines) -> None:
    """Write the file; it is replaced as a whole.

    :raise UsageError: it cannot be written.
    """
    new = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        new.write_text(baselines.model_dump_json(indent=1) + "\n", encoding="utf-8")
        new.replace(file)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise UsageError(f"--baseline {file}: cannot write it: {error.strerror}") from None
