"""Run many simulated schedules of one cluster, and shrink the first that fails."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from mutants.cluster.catalogue import catalogue
from oracles.damage import Damage
from oracles.finding import Finding, Findings
from qbdcheck.errors import NotRun
from qbdcheck.kit.cluster.schedule import (
    FAULTS,
    Schedule,
    generate,
    generate_at_events,
    shrink,
)
from qbdcheck.kit.cluster.simulation import Build, simulate
from qbdcheck.targets.description import Description

_TIME = re.compile(r"(\d+\.\d+) s")
_FAULT = re.compile(r"(\d+\.\d+ s): (.* of (?:its )?(?:node|all nodes).* for \d.*)")
_NAMED = 3
"""Faults that a sentence names: the last ones before the read."""


class ClusterWrong(AssertionError):  # noqa: N818  # the verdict on a cluster
    """A simulated schedule shows that a cluster is wrong; ``findings`` say what."""

    def __init__(self, found: Hunt, about: str = "") -> None:
        super().__init__(f"{about}: {found}" if about else str(found))
        self.findings = Findings(
            (_among(one, found.trace) for one in found.findings), about=found.findings.about
        )


def _among(finding: Finding, trace: Sequence[str]) -> Finding:
    """Return a finding whose requests stand among the faults and elections of the schedule."""
    if not finding.evidence:
        return finding
    last_s = max(map(_second, finding.evidence))
    before = [line for line in trace if _second(line) <= last_s]
    faults = [_FAULT.sub(r"\2 (at \1)", line) for line in before if _FAULT.fullmatch(line)]
    after = f"; before: {', '.join(faults[-_NAMED:])}" if faults else ""
    return replace(
        finding,
        remark=f"{finding.remark}{after}",
        evidence=tuple(sorted((*finding.evidence, *before), key=_second)),
    )


def _second(line: str) -> float:
    """Return the time with which a line begins; 0 for one without, which is from before."""
    found = _TIME.match(line)
    return float(found[1]) if found else 0.0


@dataclass
class Hunt:
    """What many schedules of one cluster showed.

    :ivar schedules: how many ran. :ivar failing: the first that failed, not shrunk.
    :ivar happened: how often each fault did something, in all of them.
    """

    schedules: int
    requests: int
    happened: Counter[str]
    findings: Findings
    failing: Schedule | None = None
    trace: Sequence[str] = ()

    @property
    def damages(self) -> set[Damage]:
        """The kinds of damage of the failing schedule."""
        return {finding.damage for finding in self.findings}

    @property
    def words(self) -> set[str]:
        """Their words, as a mutant lists them."""
        return {damage.value for damage in self.damages}

    def must_be_right(self, about: str = "") -> None:
        """Check that no schedule failed.

        :param about: which cluster it is, the beginning of the message.
        :raise ClusterWrong: one did.
        """
        if self.failing is not None:
            raise ClusterWrong(self, about)

    def __str__(self) -> str:
        if self.failing is None:
            return f"{self.schedules} schedules, {self.requests} requests: nothing is wrong"
        lines = [str(self.findings), str(self.failing), "what happened:"]
        return "\n".join([*lines, *(f"  {line}" for line in self.trace)])


def must_be_simulated(target: Description) -> None:
    """Check that the simulation says something about a target: it runs the reference cluster.

    :raise NotRun: the target is another cluster.
    """
    if any("reference_backend" not in node.start for node in target.nodes):
        raise NotRun(f"target {target.name} cannot be simulated, only the reference cluster can")


def build_of(mutant: str = "") -> Build:
    """Return the classes of a mutant of the cluster; those of the right one without a name.

    :raise KeyError: there is no such mutant.
    """
    if not mutant:
        return Build()
    found = catalogue()[mutant]
    return Build(found.node, found.replica)


def hunt(
    seeds: Iterable[int],
    mutant: str = "",
    faults: Sequence[str] = FAULTS,
    at_events: bool = False,
) -> Hunt:
    """Run the schedules of these seeds until one fails.

    :param faults: the kinds of faults to draw from. :param at_events: tie the faults to elections,
        votes and replies (`generate_at_events`) instead of to times.
    """
    make = generate_at_events if at_events else generate
    result = Hunt(0, 0, Counter(), Findings())
    build = build_of(mutant)
    for seed in seeds:
        schedule = make(seed, faults)
        outcome = simulate(schedule, build)
        result.schedules += 1
        result.requests += outcome.requests
        result.happened += outcome.happened
        if outcome.findings:
            result.findings, result.failing = outcome.findings, schedule
            result.trace = outcome.trace
            break
    return result


def smallest(found: Hunt, mutant: str = "") -> Hunt:
    """Return the failing schedule of a hunt, shrunk to the steps that it needs to fail as before.

    :raise ValueError: no schedule failed.
    """
    if found.failing is None:
        raise ValueError("no schedule failed: there is nothing to shrink")
    build = build_of(mutant)
    wanted = found.damages

    def fails(schedule: Schedule) -> bool:
        return bool(wanted & {one.damage for one in simulate(schedule, build).findings})

    schedule = shrink(found.failing, fails)
    outcome = simulate(schedule, build)
    return Hunt(1, outcome.requests, outcome.happened, outcome.findings, schedule, outcome.trace)
