"""The shortest script that a page can offer: a file that the case left, or the life of a sector.

A case that shrinks its workload leaves ``repro/script.yaml`` and ``repro/script.sh``. For other
failures the script has the recorded operations on the damaged sector, and it was not tried.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from oracles.damage import Damage
from oracles.finding import Finding
from oracles.life import Moment
from oracles.recorded import steps_of
from oracles.scripts import SIZE_MAX, Script, Step, to_qemu_io
from qbdcheck.report.events import CaseExperiment

_STEPS = 60
"""Steps of a script that is made of a life: the last ones."""
_ROUND = 64 << 10
_QEMU_IO_MAX = 2 << 20
"""Bytes of the largest volume of which the commands of qemu-io are offered: it takes 1 s."""
_REPEATED = ("write", "zero", "discard", "read", "flush", "close", "cut")
"""Kinds of moments that a script on one connection repeats."""
_LONGEST = 32 << 10
"""A longer text is left to the bundle."""


@dataclass(frozen=True)
class Offered:
    """A script: how it came about, the text for ``./check replay``, and that for qemu-io."""

    about: str
    replay: str
    qemu_io: str


def script_of(
    artefacts: Sequence[str], finding: Finding | None, experiment: CaseExperiment | None = None
) -> Offered | None:
    """Return the script of a failure; None if there is none.

    :param experiment: what an experiment on the failure found out; its script was tried.
    """
    if experiment is not None and experiment.script:
        return _tried(experiment)
    if (found := _kept(artefacts)) is not None:
        return found
    if finding is None or _is_between_connections(finding) or _has_unknown_flags(finding):
        return None
    script = _of_life(finding)
    if script is None:
        return None
    about = "The operations on this sector as recorded, on one connection. The script was not tried"
    return Offered(f"{about}.", script.to_yaml(), to_qemu_io(script))


def _tried(experiment: CaseExperiment) -> Offered:
    """Return the script of an experiment; that for qemu-io only where qemu-io can do it."""
    script = Script.of(yaml.safe_load(experiment.script), "the script of the experiment")
    is_plain = script.size <= _QEMU_IO_MAX and all(s.connection == 1 for s in script.steps)
    about = (
        f"The smallest script that fails. It was tried on fresh volumes of the target, and failed "
        f"{experiment.failed} of {experiment.plays} times."
    )
    return Offered(about, experiment.script, to_qemu_io(script) if is_plain else "")


def _is_between_connections(finding: Finding) -> bool:
    """Return whether the damage needs several connections, requests in flight or a stop.

    It does if a read on the connection of the write returned the write. A script has one connection
    and one request at a time: it would repeat nothing.
    """
    if finding.damage is Damage.NOT_LINEARIZABLE:
        return True
    life, culprit = finding.life, finding.culprit
    if culprit and any(one.kind == "restart" for one in life[culprit.place :]):
        return True  # no step of a script stops the server
    if culprit is None or any(one.kind == "cut" for one in life):
        return False
    write = life[culprit.place]
    reads = [one for one in life[culprit.place :] if one.kind == "read" and one.lane]
    if not reads or not write.lane or reads[-1].lane == write.lane:
        return False
    return any(one.lane == write.lane for one in reads[:-1])


def _has_unknown_flags(finding: Finding) -> bool:
    """Return whether the flags of a request are not known: a life has no NO_HOLE of zeroes."""
    return any(one.kind == "zero" for one in finding.life)


def _kept(artefacts: Sequence[str]) -> Offered | None:
    for directory in map(Path, artefacts):
        try:
            replay = (directory / "script.yaml").read_text(encoding="utf-8")
            qemu_io = (directory / "script.sh").read_text(encoding="utf-8")
        except OSError:
            continue
        if len(replay) + len(qemu_io) <= _LONGEST:
            return Offered("The shortest script that failed.", replay, qemu_io)
    return None


def _of_life(finding: Finding) -> Script | None:
    life = finding.life
    ends = [one.offset + one.length for one in life if one.kind != "resize"]
    ends.append(finding.offset + finding.length)
    size = -(-max(ends) // _ROUND) * _ROUND
    steps = tuple(_steps(life))[-_STEPS:]
    if size > SIZE_MAX or not any(step.do in ("write", "zero", "discard") for step in steps):
        return None
    if steps[-1].do != "read":
        steps = (*steps, Step("read", finding.sector * 512, finding.sectors * 512))
    return Script(size, steps, f"the life of sector {finding.sector}")


def _steps(life: Sequence[Moment]) -> Iterator[Step]:
    """Yield the requests and cuts of a life, on one connection; replay makes the prefill."""
    for step in steps_of([one for one in life if one.kind in _REPEATED]):
        yield replace(step, connection=1)
