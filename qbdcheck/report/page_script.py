"""The shortest script that a page can offer: a file that the case left, or the life of a sector.

A case that shrinks its workload leaves ``repro/script.yaml`` and ``repro/script.sh``. For other
failures the script has the recorded operations on the damaged sector, and it was not run. If that
leaves out what the damage needs, there is no script, and the page says why.
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
from oracles.scripts import SIZE_MAX, Script, ScriptError, Step, to_qemu_io
from qbdcheck.report.events import CaseExperiment

_STEPS = 60
"""Steps of a script that is made of a life: the last ones."""
_ROUND = 64 << 10
_QEMU_IO_MAX = 2 << 20
"""Bytes of the largest volume of which the commands of qemu-io are offered: it takes 1 s."""
_REPEATED = ("write", "zero", "discard", "read", "flush", "close", "cut")
"""Kinds of moments that a script on one connection repeats."""
_NEEDED = {
    "snapshot": "what was done with snapshots and clones",
    "restart": "the stop and start of the server",
    "resize": "the resize",
    "fault": "the injected fault",
}
"""Kinds of moments that such a script does not repeat, and without which it shows nothing."""
_OPTIONAL = {"status": "block status request", "error": "request that failed"}
"""Kinds of moments that it does not repeat either, and that may not matter."""
_LONGEST = 32 << 10
"""A longer text is left to the bundle."""


@dataclass(frozen=True)
class Offered:
    """A script: the text for ``./check replay``, and that for qemu-io.

    ``state`` says whether it was run and failed, in a few words; ``about`` how it came about, in
    sentences. ``saw`` is what it saw when it was run; empty if that is not known.
    """

    state: str
    about: str
    replay: str
    qemu_io: str
    saw: str = ""


def script_of(
    artefacts: Sequence[str], finding: Finding | None, experiment: CaseExperiment | None = None
) -> Offered | None:
    """Return the script of a failure; None if there is none.

    :param experiment: what an experiment on the failure found out; its script was tried.
    """
    found = _found(artefacts, finding, experiment)
    return found if isinstance(found, Offered) else None


def why_no_script(
    artefacts: Sequence[str], finding: Finding | None, experiment: CaseExperiment | None = None
) -> str:
    """Return why a failure has no script, as the rest of a sentence; "" if it has one.

    It is empty too if there is nothing that a script could be made of.
    """
    found = _found(artefacts, finding, experiment)
    return "" if isinstance(found, Offered) else found


def _found(
    artefacts: Sequence[str], finding: Finding | None, experiment: CaseExperiment | None
) -> Offered | str:
    """Return the script of a failure, or why there is none."""
    if experiment is not None and experiment.script:
        return _tried(experiment)
    if (kept := _kept(artefacts)) is not None:
        return kept
    if finding is None or not finding.life:
        return ""
    if experiment is not None and experiment.all_plays:
        return "the recorded requests were run as scripts on fresh volumes, and did not fail"
    return _cannot_show(finding) or _not_run(finding)


def _not_run(finding: Finding) -> Offered | str:
    """Return the script of the life of a sector, which was not run; or why there is none."""
    script = _of_life(finding)
    if script is None:
        return "the recorded requests change no data, or do not fit into a volume of 64 MiB"
    about = (
        "Nobody has seen this script fail. It has the recorded requests to this sector, on one"
        f" connection, one at a time; it leaves out {', '.join(_left_out(finding))}."
    )
    return Offered("not run", about, script.to_yaml(), to_qemu_io(script))


def _tried(experiment: CaseExperiment) -> Offered:
    """Return the script of an experiment; that for qemu-io only where qemu-io can do it."""
    script = Script.of(yaml.safe_load(experiment.script), "the script of the experiment")
    is_plain = script.size <= _QEMU_IO_MAX and all(s.connection == 1 for s in script.steps)
    state = f"failed {experiment.failed} of {experiment.plays} times that it was run"
    about = "The smallest script found that fails. It was run on fresh volumes of the target."
    qemu_io = to_qemu_io(script) if is_plain else ""
    return Offered(state, about, experiment.script, qemu_io, experiment.saw)


def _cannot_show(finding: Finding) -> str:
    """Return why a script of the life of a sector cannot show the damage; "" if it may.

    A script has one connection, one request at a time, and reads the volume itself.
    """
    if not finding.length:
        return "it would leave out the request that failed, or whose reply is wrong"
    if finding.damage is Damage.STATUS:
        return "it would leave out the block status that is wrong"
    if finding.damage is Damage.NOT_LINEARIZABLE or _is_between_connections(finding):
        return "it would leave out the other connections, or the requests in flight"
    gone = [one for one in finding.life if one.kind in _NEEDED]
    told = [_NEEDED[kind] for kind in dict.fromkeys(one.kind for one in gone)]
    told += ["the changes of other volumes that share data with it"] * bool(finding.relatives)
    if told:
        named = next((f" ({one.text})" for one in gone if one.kind == "snapshot" and one.text), "")
        return f"it would leave out {', '.join(told)}{named}"
    if any(one.kind == "zero" for one in finding.life):
        return "it would leave out the flags of the write zeroes requests, which are not recorded"
    return ""


def _left_out(finding: Finding) -> Iterator[str]:
    """Yield what a script of the life of a sector leaves out."""
    for kind, name in _OPTIONAL.items():
        if count := sum(one.kind == kind for one in finding.life):
            yield f"{count} {name}{'s' if count > 1 else ''}"
    if (count := len(tuple(_steps(finding.life))) - _STEPS) > 0:
        yield f"the first {count} of its steps"
    yield "all requests to other places"


def _is_between_connections(finding: Finding) -> bool:
    """Return whether the damage needs several connections or requests in flight.

    It does if a read on the connection of the write returned the write. A script has one connection
    and one request at a time: it would repeat nothing.
    """
    life, culprit = finding.life, finding.culprit
    if culprit is None or any(one.kind == "cut" for one in life):
        return False
    write = life[culprit.place]
    reads = [one for one in life[culprit.place :] if one.kind == "read" and one.lane]
    if not reads or not write.lane or reads[-1].lane == write.lane:
        return False
    return any(one.lane == write.lane for one in reads[:-1])


def _kept(artefacts: Sequence[str]) -> Offered | None:
    for directory in map(Path, artefacts):
        try:
            replay = (directory / "script.yaml").read_text(encoding="utf-8")
            qemu_io = (directory / "script.sh").read_text(encoding="utf-8")
        except OSError:
            continue
        if len(replay) + len(qemu_io) <= _LONGEST:
            about = "The shortest script that failed. The case has made it and run it."
            return Offered("run by the case: failed", about, replay, qemu_io, _about(replay))
    return None


def _about(replay: str) -> str:
    """Return what a script that a case has kept says of itself: what the case saw."""
    try:
        return Script.of(yaml.safe_load(replay), "the script of the case").about
    except (yaml.YAMLError, ScriptError, TypeError, AttributeError):
        return ""


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
    return Script(size, steps, f"not run; the requests to sector {finding.sector} alone")


def _steps(life: Sequence[Moment]) -> Iterator[Step]:
    """Yield the requests and cuts of a life, on one connection; replay makes the prefill."""
    for step in steps_of([one for one in life if one.kind in _REPEATED]):
        yield replace(step, connection=1)
