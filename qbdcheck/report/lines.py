"""The lines of a run in the form of qemu-iotests, as styled text, without a terminal."""

from __future__ import annotations

from collections import Counter

from rich.text import Text

from qbdcheck.report.cause import cause_of_case
from qbdcheck.report.events import CaseEnded, CasePostponed, RunStarted
from qbdcheck.verdict import Verdict

VERDICT_STYLES = {
    Verdict.PASS: "green",
    Verdict.FAIL: "bold red",
    Verdict.BROKEN: "bold magenta",
    Verdict.NOT_RUN: "yellow",
}
_DIFF_STYLES = (("+++", "bold"), ("---", "bold"), ("@@", "cyan"), ("+", "green"), ("-", "red"))
_SHOWN = 20
"""Tests of a guest that are named in a line; the reports in files have all."""
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


def case_line(case: CaseEnded, target: str) -> Text:
    """Return ``017  reference raw  pass      0.2s (last: 0.2s)  what it proves``, or the cause."""
    last = f" (last: {case.last_s:.1f}s)" if case.last_s is not None else ""
    line = Text(f"{case.number:03d}".ljust(4) + f" {target} {case.image_format:5}  ")
    line.append(f"{case.verdict.value:7}", VERDICT_STYLES[case.verdict])
    line.append(f" {case.elapsed_s:5.1f}s{last:14}  ", "dim")
    match case.verdict:
        case Verdict.NOT_RUN:
            line.append("; ".join(case.reasons))
        case Verdict.PASS:
            line.append(sentence_of(case.sentence))
            if case.partly_not_run:
                line.append(f" [in part: not {'; not '.join(case.partly_not_run)}]", "yellow")
        case _:
            line.append(cause_of_case(case) or sentence_of(case.sentence))
    line.append(second_try(case), "yellow")
    return line


def second_try(case: CaseEnded) -> str:
    """Return `` [second try, alone; the first was starved: ...]``; "" for a first try."""
    first = case.first_try
    return f" [second try, alone; the first was {first.message}]" if first else ""


def postponed_line(case: CasePostponed, target: str) -> Text:
    """Return ``017  reference raw  starved  30.2s  again at the end, alone; starved: ...``."""
    line = Text(f"{case.number:03d}".ljust(4) + f" {target} {case.image_format:5}  ")
    line.append("starved", "yellow")
    line.append(f" {case.first_try.elapsed_s:5.1f}s{'':14}  ", "dim")
    line.append(f"runs again at the end, alone; {case.first_try.message}")
    return line


def test_lines(case: CaseEnded) -> list[str]:
    """Return the number of tests in a guest by outcome, and those that did not pass."""
    if not case.tests:
        return []
    counts = Counter(one.outcome for one in case.tests)
    others = [f"{one.name} ({one.outcome})" for one in case.tests if one.outcome != "pass"]
    line = "tests in the guest: " + ", ".join(f"{n} {how}" for how, n in counts.most_common())
    more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
    return [f"{line}{': ' if others else ''}{', '.join(others[:_SHOWN])}{more}"]


def failure_block(case: CaseEnded) -> list[Text]:
    """Return the lines on a failed case: its sentence, diff, command to run it again, and files."""
    style = VERDICT_STYLES[case.verdict]
    title = f"---- {case.case_id} {case.image_format}: {case.verdict.value} "
    lines = [Text(f"{title:-<80}", style)]
    if case.sentence:
        lines.append(Text(f"checks that {sentence_of(case.sentence)}", "italic"))
    body = case.details or case.message
    in_diff = False
    for line in body.splitlines():
        in_diff = in_diff or line.startswith(("--- ", "@@ "))
        in_diff = in_diff and bool(line) and line[0] in "+-@ "
        lines.append(Text(_printable(line), _line_style(line, in_diff)))
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
