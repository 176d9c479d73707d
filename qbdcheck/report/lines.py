"""The lines of a run in the form of qemu-iotests, as styled text, without a terminal."""

from __future__ import annotations

import textwrap
from collections import Counter

from rich.text import Text

from qbdcheck.report.cause import cause_of_case
from qbdcheck.report.events import (
    CaseEnded,
    CaseExperiment,
    CasePostponed,
    GuestTestEnded,
    RunStarted,
)
from qbdcheck.verdict import Verdict

VERDICT_STYLES = {
    Verdict.PASS: "green",
    Verdict.FAIL: "bold red",
    Verdict.BROKEN: "bold magenta",
    Verdict.NOT_RUN: "yellow",
    Verdict.KNOWN: "cyan",
}
_DIFF_STYLES = (("+++", "bold"), ("---", "bold"), ("@@", "cyan"), ("+", "green"), ("-", "red"))
_SHOWN = 20
"""Tests of a guest that are named in a line; the reports in files have all."""
_NEEDED = 4
"""Conditions of a failure in the line on an experiment; the page has all."""
_NARROW = 100
"""On terminals with fewer columns, a line has no time of the last run."""
_LEAST = 30
"""The fewest columns into which text is wrapped."""
_PREFIX = "this case checks that "


def sentence_of(sentence: str) -> str:
    """Return what the case proves, without the common prefix of all case sentences."""
    text = " ".join(sentence.split())
    return text[len(_PREFIX) :] if text.lower().startswith(_PREFIX) else text


def header_lines(run: RunStarted) -> list[str]:
    """Return ``NAME -- value`` lines: what was run, with which seed, on which machine."""
    facts = {
        "target": run.target,
        "formats": " ".join(run.formats),
        "cases": f"{run.selected} on {run.lanes} lane{'s' * (run.lanes != 1)}",
        "seed": str(run.seed),
        **run.environment,
    }
    width = max(len(name) for name in facts)
    return [f"{name.upper():{width}} -- {value}" for name, value in facts.items()]


def wrapped(text: str, width: int | None, indent: int = 0) -> str:
    """Return `text` with line ends between words, so that no line is longer than `width` columns.

    :param width: None leaves the text as it is.
    :param indent: the columns before the text, also of the further lines; not in the result's
        first line.
    """
    if width is None:
        return text
    lines = textwrap.wrap(text, max(width - indent, _LEAST), break_on_hyphens=False)
    return ("\n" + " " * indent).join(lines)


def case_line(case: CaseEnded, with_format: bool, width: int | None = None) -> Text:
    """Return ``017  pass      0.2s (last: 0.2s)  what it proves``, or the cause of a failure.

    :param with_format: show the image format; useless where all cases have the same.
    :param width: columns of the terminal: a failure's cause is wrapped, other text is cut, both
        between words; None for one line with everything.
    """
    last = f" (last: {case.last_s:.1f}s)" if case.last_s is not None else ""
    line = Text(f"{case.number:03d}".ljust(4) + " ")
    if with_format:
        line.append(f"{case.image_format:9} ")
    line.append(f"{case.verdict.value:7}", VERDICT_STYLES[case.verdict])
    line.append(f" {case.elapsed_s:5.1f}s", "dim")
    line.append("  " if width is not None and width < _NARROW else f"{last:14}  ", "dim")
    if case.verdict.is_bad:
        cause = cause_of_case(case) or sentence_of(case.sentence)
        return line.append(wrapped(cause + second_try(case), width, line.cell_len))
    said = Text(sentence_of(case.sentence))
    if case.verdict in (Verdict.NOT_RUN, Verdict.KNOWN):
        said = Text("; ".join(case.reasons))
    else:
        if case.partly_not_run:
            said.append(f" [in part not run: {'; '.join(case.partly_not_run)}]", "yellow")
        if case.waived:
            said.append(f" [waived: {'; waived: '.join(case.waived)}]", "yellow")
    said.append(second_try(case), "yellow")
    if width is not None and line.cell_len + said.cell_len > width:
        room = max(width - line.cell_len, _LEAST)
        kept = said.plain[: room - 3].rpartition(" ")[0] or said.plain[: room - 3]
        said.truncate(len(kept))
        said.append("...", "dim")
    return line.append_text(said)


def second_try(case: CaseEnded) -> str:
    """Return `` [second try, alone; the first was starved: ...]``; "" for a first try."""
    first = case.first_try
    return f" [second try, alone; the first was {first.message}]" if first else ""


def postponed_line(case: CasePostponed, with_format: bool, width: int | None = None) -> Text:
    """Return ``017  starved  30.2s  runs again at the end, alone; starved: ...``."""
    line = Text(f"{case.number:03d}".ljust(4) + " ")
    if with_format:
        line.append(f"{case.image_format:9} ")
    line.append("starved", "yellow")
    line.append(f" {case.first_try.elapsed_s:5.1f}s  ", "dim")
    again = f"runs again at the end, alone; {case.first_try.message}"
    return line.append(wrapped(again, width, line.cell_len))


def experiment_lines(
    event: CaseExperiment, with_format: bool, width: int | None = None
) -> list[Text]:
    """Return what an experiment on a failure found out, and in a second line what it needs."""
    name = f"{event.number:03d}" + f" {event.image_format}" * with_format
    lines = [Text(wrapped(f"{name}: {event.sentence}", width))]
    if event.needed:
        shown = "; ".join(event.needed[:_NEEDED]) + "; ..." * (len(event.needed) > _NEEDED)
        lines.append(Text(wrapped(f"     needed: {shown}", width, 5)))
    return lines


def guest_test_line(event: GuestTestEnded) -> str:
    """Return ``541: ext4 dio01: pass, 3.2 s``: a test that ended while its case runs."""
    one = event.test
    return f"{event.number:03d}: {one.name}: {one.outcome}, {one.elapsed_s:.1f} s"


def test_lines(case: CaseEnded) -> list[str]:
    """Return the number of tests in a guest by outcome, and those that did not pass."""
    if not case.tests:
        return []
    counts = Counter(one.outcome for one in case.tests)
    others = [f"{one.name} ({one.outcome})" for one in case.tests if one.outcome != "pass"]
    line = "tests in the guest: " + ", ".join(f"{n} {how}" for how, n in counts.most_common())
    more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
    return [f"{line}{': ' if others else ''}{', '.join(others[:_SHOWN])}{more}"]


def failure_block(case: CaseEnded, width: int | None = None) -> list[Text]:
    """Return the lines on a failed case: its sentence, diff, command to run it again, and files.

    Sentences are wrapped to `width` columns. Diffs, commands and paths are not: people copy them.
    """
    style = VERDICT_STYLES[case.verdict]
    title = f"---- {case.case_id} {case.image_format}: {case.verdict.value} "
    lines = [Text(f"{title:-<80}", style)]
    if case.sentence:
        sentence = f"checks that {sentence_of(case.sentence)}"
        lines.append(Text(wrapped(sentence, width), "italic"))
    if case.basis:
        lines.append(Text(wrapped(f"basis: {'; '.join(case.basis)}", width), "italic"))
    body = case.details or case.message
    in_diff = False
    for line in body.splitlines():
        in_diff = in_diff or line.startswith(("--- ", "@@ "))
        in_diff = in_diff and bool(line) and line[0] in "+-@ "
        shown = _printable(line)
        if line.startswith("E ") and width is not None:
            shown = wrapped(shown, width, 4)
        lines.append(Text(shown, _line_style(line, in_diff)))
    if case.rerun:
        lines.append(Text.assemble(("again  ", "bold"), case.rerun))
    lines += [Text.assemble(("file   ", "bold"), path) for path in case.artefacts]
    return [*lines, Text("-" * 80, style)]


def _line_style(line: str, in_diff: bool) -> str:
    if in_diff:
        return next((style for start, style in _DIFF_STYLES if line.startswith(start)), "")
    return "bold" if line.startswith("E ") else ""


def _printable(line: str) -> str:
    """Return `line` without control characters, which could control the user's terminal."""
    return "".join(
        char if char.isprintable() or char == "\t" else f"\\x{ord(char):02x}" for char in line
    )
