"""The kill matrix in the terminal and as an HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from rich.console import Console
from rich.table import Table

from qbdcheck.mutation.mutant_run import ALIVE, KILLED, NOT_READY, NOT_TESTABLE, Cell, Fate
from qbdcheck.report.page_style import style

_DIAGNOSIS_MAX = 90
_STYLE = """
body { max-width: none; }
th, td { border: 1px solid var(--line); padding: .25em .5em; }
thead th { position: sticky; top: 0; background: var(--soft); }
td.number { text-align: right; white-space: nowrap; }
td small { display: block; color: var(--dim); white-space: nowrap; }
td.diagnosis { min-width: 20em; max-width: 46em; overflow-wrap: anywhere; }
"""
"""What the matrix adds to the style sheet of all pages."""


def cell_text(cell: Cell) -> str:
    """Return a cell of the grid: the number of the case and the seconds, or the state."""
    if cell.state == KILLED:
        return f"{cell.case.partition('_')[0]} {cell.seconds:.1f}s"
    return "-" if cell.state == NOT_TESTABLE else cell.state


def suites_of(fates: Sequence[Fate]) -> list[str]:
    """Return the suites of all fates, in their order."""
    return list(dict.fromkeys(suite for fate in fates for suite in fate.suites))


def print_grid(console: Console, fates: Sequence[Fate]) -> None:
    """Print a row for each mutant, a column for each suite."""
    suites = suites_of(fates)
    table = Table(
        "mutant",
        *suites,
        title="Mutant x suite: the case that killed the mutant, and the seconds until then",
    )
    for fate in fates:
        cells = (fate.suites.get(suite, Cell()) for suite in suites)
        table.add_row(_name(fate), *map(cell_text, cells))
    console.print(table)


def print_summary(console: Console, fates: Sequence[Fate]) -> None:
    """Print the kills, and then the conclusions."""
    table = Table("mutant", "killed by", "s", "requests", "diagnosis", title="Kill matrix")
    for fate in fates:
        if fate.state == KILLED:
            mark = "" if fate.named or fate.control else "? "
            seconds, requests = f"{fate.seconds:.1f}", str(fate.requests)
            table.add_row(_name(fate), fate.case, seconds, requests, mark + _first_line(fate))
    console.print(table)
    for line in conclusions(fates):
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def conclusions(fates: Sequence[Fate]) -> list[str]:
    """Return the conclusions, one line each; leave out empty ones."""
    mutants = [fate for fate in fates if not fate.control and fate.state != NOT_TESTABLE]
    killed = [fate for fate in mutants if fate.state == KILLED]
    seconds = sorted(fate.seconds for fate in killed)
    middle = f", median {seconds[len(seconds) // 2]:.1f} s" if seconds else ""
    legal = [fate for fate in fates if fate.control and fate.state in (ALIVE, KILLED)]
    lines = []
    if legal and not mutants:
        accused = sum(fate.state == KILLED for fate in legal)
        lines.append(f"Cases accused {accused} of {len(legal)} legal backends")
        killed = []
    lines.append(f"Killed {len(killed)} of {len(mutants)} mutants{middle}")
    with_knobs = [fate for fate in mutants if not fate.knobs_left_out]
    if len(with_knobs) < len(mutants):
        dead = sum(fate.state == KILLED for fate in with_knobs)
        lines.append(f"Killed {dead} of the {len(with_knobs)} that have the requested knobs")
    lines.append(f"The diagnosis names the damage of {sum(f.named for f in killed)} of them")
    named = {
        "Not named": [fate for fate in killed if not fate.named],
        "Did not start": [fate for fate in fates if fate.state == NOT_READY],
        "Alive": [fate for fate in mutants if fate.state == ALIVE],
        "Accused controls": [fate for fate in fates if fate.control and fate.state == KILLED],
        "Not testable here": [fate for fate in fates if fate.state == NOT_TESTABLE],
        "Without these knobs": [fate for fate in mutants if fate.knobs_left_out],
    }
    lines += [f"{what}: {' '.join(map(_name, those))}" for what, those in named.items() if those]
    broken = [f"{_name(fate)} ({' '.join(fate.broken)})" for fate in fates if fate.broken]
    if broken:
        lines.append(f"With broken cases: {' '.join(broken)}")
    return lines


def page(fates: Sequence[Fate]) -> str:
    """Return the matrix as a self-contained HTML page."""
    suites = suites_of(fates)
    head = "".join(f"<th>{escape(suite)}</th>" for suite in suites)
    rows = "\n".join(_row(fate, suites) for fate in fates)
    paragraphs = "".join(f"<p>{escape(line)}</p>\n" for line in conclusions(fates))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Kill matrix</title><style>{style()}{_STYLE}</style></head><body>\n"
        f"<h1>Kill matrix</h1>\n{paragraphs}"
        "<table><thead><tr><th>mutant</th><th>state</th><th>killed by</th><th>s</th>"
        f"<th>requests</th>{head}<th>diagnosis</th></tr></thead><tbody>\n{rows}\n"
        "</tbody></table></body></html>\n"
    )


def _row(fate: Fate, suites: Sequence[str]) -> str:
    colour = "untested" if fate.state == NOT_TESTABLE else "right" if fate.is_right else "wrong"
    state = f"{fate.state}, as it must be" if fate.control and fate.state == ALIVE else fate.state
    mark = "" if fate.named or fate.control or fate.state != KILLED else "? "
    cells = "".join(_suite_cell(fate, fate.suites.get(suite, Cell())) for suite in suites)
    return (
        f'<tr><th class="id">{escape(_name(fate))}</th><td class="{colour}">{escape(state)}</td>'
        f'<td>{escape(fate.case)}</td><td class="number">{fate.seconds:.1f}</td>'
        f'<td class="number">{fate.requests}</td>{cells}'
        f'<td class="diagnosis">{escape(mark + _first_line(fate))}</td></tr>'
    )


def _suite_cell(fate: Fate, cell: Cell) -> str:
    if cell.state == KILLED:
        colour = "wrong" if fate.control else "right"
        text = f"{escape(cell.case.partition('_')[0])}<small>{cell.seconds:.1f} s</small>"
        title = escape(f"{cell.case}: {cell.diagnosis}", quote=True)
        return f'<td class="{colour}" title="{title}">{text}</td>'
    colour = "untested" if cell.state == NOT_TESTABLE else "right" if fate.control else "unseen"
    return f'<td class="{colour}">{escape(cell_text(cell))}</td>'


def _name(fate: Fate) -> str:
    return ":".join(filter(None, [fate.id, fate.knobs]))


def _first_line(fate: Fate) -> str:
    text = fate.diagnosis.partition("\n")[0]
    return text if len(text) <= _DIAGNOSIS_MAX else text[: _DIAGNOSIS_MAX - 3] + "..."
