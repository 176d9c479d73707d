"""Print the doctor's tables: with colour and frames if rich is installed, else as plain text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TextIO

_PLAIN_WIDTH = 120


class Styled(NamedTuple):
    """A text with a style of rich, such as ``bold red``."""

    text: str
    style: str = ""


@dataclass(frozen=True)
class Sheet:
    """A table."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Styled]]


def show(sheets: Sequence[Sheet], lines: Sequence[Styled], stream: TextIO) -> None:
    """Print tables, then lines."""
    try:
        _with_rich(sheets, lines, stream)
    except ModuleNotFoundError:
        for sheet in sheets:
            stream.write(_plain(sheet))
        stream.writelines(f"{line.text}\n" for line in lines)


def _with_rich(sheets: Sequence[Sheet], lines: Sequence[Styled], stream: TextIO) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    is_terminal = stream.isatty()
    width = None if is_terminal else _PLAIN_WIDTH
    console = Console(file=stream, highlight=False, width=width, no_color=not is_terminal)
    for sheet in sheets:
        table = Table(title=sheet.title, title_justify="left")
        for column in sheet.columns:
            table.add_column(column, overflow="fold")
        for row in sheet.rows:
            table.add_row(*(Text(cell.text, cell.style) for cell in row))
        console.print(table)
    for line in lines:
        console.print(Text(line.text, line.style), soft_wrap=True)


def _plain(sheet: Sheet) -> str:
    cells = [list(sheet.columns), *([cell.text for cell in row] for row in sheet.rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(sheet.columns))]
    lines = [
        "  ".join(f"{text:{width}}" for text, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    return "\n".join([sheet.title, *(f"  {line}" for line in lines)]) + "\n\n"
