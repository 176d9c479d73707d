"""The summary of a run in the form of qemu-iotests: cases not run, failures, and counts."""

from __future__ import annotations

import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterable

from rich.text import Text

from qbdcheck.catalogue.basis import rank
from qbdcheck.report.cause import cause_of_case
from qbdcheck.report.events import CaseEnded, RunEnded
from qbdcheck.report.lines import VERDICT_STYLES, wrapped
from qbdcheck.report.tally import Tally
from qbdcheck.verdict import Verdict

_COLUMNS = 80
SLOWEST = 5
"""The number of slowest cases in the summary."""


def summary_lines(
    tally: Tally, durations: int | None = None, width: int | None = None
) -> list[Text]:
    """Return the last lines of a run that ended or was interrupted.

    :param durations: number of slowest cases, each on a line; 0 for all, None for five on one line.
    :param width: columns, to which reasons and causes are wrapped; None for no limit.
    """
    formats = {case.image_format for case in tally.cases}
    namer = _Namer(len(formats) > 1, width)
    lines = [
        *(_slowest(tally, namer) if durations is None else _durations(tally, namer, durations)),
        *_not_run(tally, namer),
        *_partly(tally, namer),
        *_waived(tally, namer),
        *_known(tally, namer),
        *_bad(tally, namer, Verdict.FAIL, "Failures"),
        *_bad(tally, namer, Verdict.BROKEN, "Broken"),
    ]
    return [*lines, *cause_lines(tally.end), *_verdict(tally)]


def cause_lines(end: RunEnded | None) -> list[Text]:
    """Return the causes of the failures, and what they look like, for 80 columns."""
    if end is None or not end.causes:
        return []
    lines = [Text("Causes, the likely root first:", "bold")]
    for number, cause in enumerate(end.causes, 1):
        total = round(cause.failures / cause.share) if cause.share else cause.failures
        head = f"{number}. {cause.failures} of {total} failures: {cause.title}"
        lines += _wrapped(head, "  ", "     ", "bold red" if number == 1 else "")
        lines += _wrapped(f"read {cause.read_first} first: {cause.example}", "     ", "     ")
        if len(cause.cases) > 1:
            lines += _wrapped("cases " + " ".join(cause.cases), "     ", "     ", "dim")
        if cause.script:
            lines.append(Text(f"     smallest script: {cause.script}"))
        elif number == 1 and cause.rerun:
            lines.append(Text(f"     again: {cause.rerun}"))
    if end.looks_like:
        named = ", ".join(f"{one.id} ({one.score:.2f})" for one in end.looks_like)
        lines += _wrapped(f"Looks like: {named}", "", "  ", "bold")
    for like in end.looks_like:
        seen = f"; real: {like.seen_in}" if like.seen_in else ""
        lines += _wrapped(f"{like.id}: {like.breaks}{seen}", "  ", "    ", "dim")
    return lines


def _wrapped(text: str, first: str, others: str, style: str = "") -> list[Text]:
    """Return text as lines of at most 80 columns; a word that is longer stays whole."""
    wrapped = textwrap.wrap(
        text,
        _COLUMNS,
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [Text(line, style) for line in wrapped]


class _Namer:
    """Names a case by its number, and by its image format where a run has several."""

    def __init__(self, with_format: bool, width: int | None) -> None:
        self._with_format = with_format
        self._width = width

    def listed(self, text: str, style: str = "") -> Text:
        """Return an indented line of a list, wrapped."""
        return Text(f"  {wrapped(text, self._width, 2)}", style)

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
        lines.append(namer.listed(f"{reason}: {namer.names(having)}", "dim"))
    return lines


def _partly(tally: Tally, namer: _Namer) -> list[Text]:
    cases = [case for case in tally.with_verdict(*Verdict) if case.partly_not_run]
    if not cases:
        return []
    lines = [Text.assemble(("Some parts not run in: ", "yellow"), namer.names(cases))]
    return lines + [
        namer.listed(f"{namer.name(case)}: {part}", "dim")
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
        basis = f"  [{case.basis[0]}]" if case.basis and verdict is Verdict.FAIL else ""
        rate = _rate(tally, case)
        lines.append(namer.listed(f"{namer.name(case)}: {cause_of_case(case)}{rate}{basis}"))
    return lines


def _rate(tally: Tally, case: CaseEnded) -> str:
    retried = tally.retried(case)
    return f" (again, alone: failed {retried.rate})" if retried else ""


def _known(tally: Tally, namer: _Namer) -> list[Text]:
    cases = tally.with_verdict(Verdict.KNOWN)
    if not cases:
        return []
    lines = [Text.assemble(("Known failures: ", VERDICT_STYLES[Verdict.KNOWN]), namer.names(cases))]
    return lines + [
        namer.listed(f"{namer.name(case)}: {'; '.join(case.reasons)}", "dim") for case in cases
    ]


def _durations(tally: Tally, namer: _Namer, number: int) -> list[Text]:
    ran = [case for case in tally.cases if case.verdict is not Verdict.NOT_RUN]
    slowest = sorted(ran, key=lambda case: -case.elapsed_s)[: number or None]
    if not slowest:
        return []
    title = f"Slowest {len(slowest)} of {len(ran)} cases:"
    return [
        Text(title, "dim"),
        *(Text(f"{case.elapsed_s:8.2f}s  {namer.name(case)}  {case.case_id}") for case in slowest),
    ]


def _slowest(tally: Tally, namer: _Namer) -> list[Text]:
    ran = [case for case in tally.cases if case.verdict is not Verdict.NOT_RUN]
    if len(ran) <= SLOWEST:
        return []
    slowest = sorted(ran, key=lambda case: -case.elapsed_s)[:SLOWEST]
    named = ", ".join(f"{namer.name(case)} {case.elapsed_s:.1f}s" for case in slowest)
    return [Text(f"Slowest: {named}", "dim")]


def _verdict(tally: Tally) -> list[Text]:
    """Return the last line, such as ``Passed all 98 cases`` or ``Failed 1 of 98 cases``.

    A run that ended early never says "passed all": ``Interrupted after 6 of 153 cases; 6 passed``.
    """
    failed, broken, known = (
        len(tally.with_verdict(one)) for one in (Verdict.FAIL, Verdict.BROKEN, Verdict.KNOWN)
    )
    executed, end = tally.executed, tally.end
    cases = f"{executed} case{'s' * (executed != 1)}"
    if end is not None and (end.interrupted or end.stopped):
        line = _ended_early(tally, end)
    elif not executed:
        line = Text("No case was run", "bold red")
    elif failed or broken:
        also = f", {broken} of them broken" if broken else ""
        line = Text(f"Failed {failed + broken} of {cases}{also}", "bold red")
    elif known:
        failures = f"{known} known failure{'s' * (known != 1)}"
        line = Text(f"Passed {executed - known} of {cases}, {failures}", "bold green")
    else:
        line = Text(f"Passed all {cases}", "bold green")
    if end is not None and executed:
        line.append(f" in {end.elapsed_s:.1f}s", "not bold default")
        mean_s = sum(case.elapsed_s for case in tally.cases) / executed
        line.append(f" (mean {mean_s:.2f}s a case)", "not bold dim default")
    return [line]


def _ended_early(tally: Tally, end: RunEnded) -> Text:
    """Return ``Interrupted after 6 of 153 cases; 6 passed``, red if a case failed."""
    done = [case for case in tally.cases if end.stopped not in case.reasons]
    verdicts = Counter(case.verdict for case in done)
    words = {
        Verdict.FAIL: "failed",
        Verdict.BROKEN: "broken",
        Verdict.KNOWN: "known failures",
        Verdict.PASS: "passed",
        Verdict.NOT_RUN: "not run",
    }
    counts = [f"{verdicts[one]} {word}" for one, word in words.items() if verdicts[one]]
    of = f" of {tally.run.selected} cases" if tally.run else " cases"
    is_signal = not end.stopped or end.stopped.startswith("SIG")
    how = "Interrupted" if is_signal else f"Stopped ({end.stopped})"
    bad = verdicts[Verdict.FAIL] + verdicts[Verdict.BROKEN]
    text = f"{how} after {len(done)}{of}; {', '.join(counts) or 'none ended'}"
    return Text(text, "bold red" if bad else "bold yellow")
