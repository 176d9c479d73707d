"""The summary of a run in the form of qemu-iotests: cases not run, failures, and counts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from rich.text import Text

from qbdcheck.catalogue.basis import rank
from qbdcheck.report.cause import cause_of_case
from qbdcheck.report.events import CaseEnded
from qbdcheck.report.lines import VERDICT_STYLES
from qbdcheck.report.tally import Tally
from qbdcheck.verdict import Verdict

SLOWEST = 5
"""The number of slowest cases in the summary."""


def summary_lines(tally: Tally) -> list[Text]:
    """Return the last lines of a run that ended or was interrupted."""
    formats = {case.image_format for case in tally.cases}
    namer = _Namer(with_format=len(formats) > 1)
    lines = [
        *_slowest(tally, namer),
        *_not_run(tally, namer),
        *_partly(tally, namer),
        *_waived(tally, namer),
        *_bad(tally, namer, Verdict.FAIL, "Failures"),
        *_bad(tally, namer, Verdict.BROKEN, "Broken"),
    ]
    return [*lines, *_verdict(tally)]


class _Namer:
    """Names a case by its number, and by its image format where a run has several."""

    def __init__(self, with_format: bool) -> None:
        self._with_format = with_format

    def name(self, case: CaseEnded) -> str:
        return f"{case.number:03d}" + (f"-{case.image_format}" if self._with_format else "")

    def names(self, cases: Iterable[CaseEnded]) -> str:
        return " ".join(dict.fromkeys(self.name(case) for case in cases))


def _not_run(tally: Tally, namer: _Namer) -> list[Text]:
    """Return ``Not run: 012 034``, and every reason with its cases."""
    cases = tally.with_verdict(Verdict.NOT_RUN)
    if not cases:
        return []
    lines = [Text.assemble(("Not run: ", "yellow"), namer.names(cases))]
    by_reasons: dict[str, list[CaseEnded]] = defaultdict(list)
    for case in cases:
        for reason in case.reasons or ("no reason was given",):
            by_reasons[reason].append(case)
    for reason, having in sorted(by_reasons.items(), key=lambda item: -len(item[1])):
        lines.append(Text(f"  {reason}: {namer.names(having)}", "dim"))
    return lines


def _partly(tally: Tally, namer: _Namer) -> list[Text]:
    cases = [case for case in tally.with_verdict(*Verdict) if case.partly_not_run]
    if not cases:
        return []
    lines = [Text.assemble(("Some parts not run in: ", "yellow"), namer.names(cases))]
    return lines + [
        Text(f"  {namer.name(case)}: {part}", "dim")
        for case in cases
        for part in case.partly_not_run
    ]


def _waived(tally: Tally, namer: _Namer) -> list[Text]:
    cases = [case for case in tally.with_verdict(*Verdict) if case.waived]
    if not cases:
        return []
    lines = [Text.assemble(("Failures that the profile waives: ", "yellow"), namer.names(cases))]
    return lines + [
        Text(f"  {namer.name(case)}: waived: {one}", "dim") for case in cases for one in case.waived
    ]


def _bad(tally: Tally, namer: _Namer, verdict: Verdict, title: str) -> list[Text]:
    cases = tally.with_verdict(verdict)
    if not cases:
        return []
    cases = sorted(cases, key=lambda case: rank(case.basis))  # stable: by number for each strength
    lines = [Text.assemble((f"{title}: ", VERDICT_STYLES[verdict]), namer.names(cases))]
    for case in cases:
        lines.append(Text(f"  {namer.name(case)}: {cause_of_case(case)}"))
        if case.basis and verdict is Verdict.FAIL:
            lines[-1].append(f"  [{case.basis[0]}]", "dim")
    return lines


def _slowest(tally: Tally, namer: _Namer) -> list[Text]:
    ran = [case for case in tally.cases if case.verdict is not Verdict.NOT_RUN]
    if len(ran) <= SLOWEST:
        return []
    slowest = sorted(ran, key=lambda case: -case.elapsed_s)[:SLOWEST]
    named = ", ".join(f"{namer.name(case)} {case.elapsed_s:.1f}s" for case in slowest)
    return [Text(f"Slowest: {named}", "dim")]


def _verdict(tally: Tally) -> list[Text]:
    """Return ``Passed all 98 cases`` or ``Failed 1 of 98 cases``, the time, an interruption."""
    failed = len(tally.with_verdict(Verdict.FAIL))
    broken = len(tally.with_verdict(Verdict.BROKEN))
    executed = tally.executed
    cases = f"{executed} case{'s' * (executed != 1)}"
    lines = []
    if tally.end is not None and tally.end.interrupted:
        of = f" of {tally.run.selected}" if tally.run else ""
        lines.append(Text(f"Interrupted after {len(tally.cases)}{of} cases", "bold yellow"))
    if not executed:
        lines.append(Text("No case was run", "bold red"))
    elif failed or broken:
        also = f", {broken} of them broken" if broken else ""
        lines.append(Text(f"Failed {failed + broken} of {cases}{also}", "bold red"))
    else:
        lines.append(Text(f"Passed all {cases}", "bold green"))
    if tally.end is not None and executed:
        lines[-1].append(f" in {tally.end.elapsed_s:.1f}s", "not bold default")
        mean_s = sum(case.elapsed_s for case in tally.cases) / executed
        lines[-1].append(f" (mean {mean_s:.2f}s a case)", "not bold dim default")
    return lines
