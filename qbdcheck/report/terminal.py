"""The output on a terminal: a line for each case, and below the lines the running lanes.

No thread is used: the runner forks, and a child hangs if it is forked while another thread holds
the lock of rich. The live part is redrawn on events and on `tick`.
"""

from __future__ import annotations

from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from qbdcheck import clock
from qbdcheck.report.events import (
    CaseEnded,
    CaseExperiment,
    CasePostponed,
    CaseRetried,
    CaseStarted,
    Event,
    GuestTestEnded,
    RunEnded,
    RunStarted,
)
from qbdcheck.report.lines import (
    case_line,
    experiment_lines,
    failure_block,
    guest_test_line,
    header_lines,
    postponed_line,
    test_lines,
)
from qbdcheck.report.summary import summary_lines
from qbdcheck.report.tally import Tally

_BAR = 30
"""Columns of the progress bar, where the counts leave so many."""


class Terminal:
    """Writes a run to `stream`, which it does not close.

    ``color`` is ``auto`` (colours and live progress where `stream` is a terminal), ``on`` (colours
    everywhere) or ``off`` (neither). ``durations``: see `summary_lines`.
    """

    def __init__(self, stream: TextIO, color: str = "auto", durations: int | None = None) -> None:
        self._is_terminal = is_terminal = stream.isatty()
        colored = color in ("on", "always") or (color == "auto" and is_terminal)
        self._console = Console(
            file=stream,
            force_terminal=colored or is_terminal,
            no_color=not colored,
            color_system="auto" if colored and is_terminal else "standard" if colored else None,
            highlight=False,
            markup=False,
            emoji=False,
            soft_wrap=True,
        )
        self._durations = durations
        self._tally = Tally()
        self._live: Live | None = None
        if is_terminal and color not in ("off", "never") and not self._console.is_dumb_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)

    def handle(self, event: Event) -> None:
        """Print what `event` adds; printing redraws the lanes below it, once."""
        self._tally.handle(event)
        self._update(refresh=False)
        match event:
            case RunStarted():
                self._print(*[Text(line, "dim") for line in header_lines(event)], Text())
                if self._live is not None:
                    self._live.start()
            case CaseStarted():
                pass
            case GuestTestEnded():
                self._print(Text(guest_test_line(event), "dim"))
            case CasePostponed():
                self._print(postponed_line(event, self._has_formats, self._width))
            case CaseEnded():
                self._case(event)
            case CaseRetried():
                name = f"{event.number:03d}" + f" {event.image_format}" * self._has_formats
                self._print(Text(f"{name}: again, alone: failed {event.rate}"))
            case CaseExperiment():
                self._print(*experiment_lines(event, self._has_formats, self._width))
            case RunEnded():
                self.close()
                lines = summary_lines(self._tally, self._durations, self._width)
                self._print(Text(), *lines)

    def tick(self) -> None:
        """Redraw the lanes, if the output is a terminal."""
        self._update(refresh=True)

    def _update(self, refresh: bool) -> None:
        if self._live is not None and self._live.is_started:
            self._live.update(self._progress(), refresh=refresh)

    def close(self) -> None:
        """Remove the lanes from the screen and restore the cursor."""
        if self._live is not None and self._live.is_started:
            self._live.stop()

    @property
    def _width(self) -> int | None:
        """The columns of the terminal; None where the output is not a terminal."""
        return max(self._console.width, 60) if self._is_terminal else None

    @property
    def _has_formats(self) -> bool:
        """Whether cases have different image formats."""
        run = self._tally.run
        return run is None or len(run.formats) > 1

    def _case(self, case: CaseEnded) -> None:
        line = case_line(case, self._has_formats, self._width)
        seen = (*test_lines(case), *case.observed)
        self._print(line, *[Text(f"     {one}", "dim") for one in seen])
        if case.verdict.is_bad:
            self._print(*failure_block(case, self._width))

    def _print(self, *lines: Text) -> None:
        for line in lines:
            self._console.print(line)
        self._console.file.flush()

    def _progress(self) -> RenderableType:
        """Return the bar with counts and the remaining time, then a line for each lane."""
        run, now_s = self._tally.run, clock.wall_s()
        if run is None:
            return Text()
        done, total = len(self._tally.cases), max(run.selected, len(self._tally.cases), 1)
        texts = [
            Text(f"{done}/{total}"),
            _counts(self._tally),
            Text(_time_left(now_s - run.started_s, done, total), "dim"),
        ]
        for text in texts:
            text.no_wrap = True
        free = self._console.width - sum(text.cell_len + 1 for text in texts)
        bar = Table.grid(padding=(0, 1))
        width = max(min(_BAR, free), 1)
        bar.add_row(ProgressBar(total=total, completed=done, width=width), *texts)
        lanes = [
            Text(
                f"  {lane + 1}: {case.case_id} {case.image_format}  "
                f"{max(now_s - case.started_s, 0):.1f}s",
                "dim",
                no_wrap=True,
                overflow="ellipsis",
            )
            for lane, case in sorted(self._tally.running.items())
        ]
        return Group(bar, *lanes)


def _counts(tally: Tally) -> Text:
    counts = tally.counts
    text = Text(f"{counts['pass']} passed", "green")
    for key, word, style in (
        ("fail", "failed", "bold red"),
        ("broken", "broken", "bold magenta"),
        ("known", "known", "cyan"),
        ("not_run", "not run", "yellow"),
    ):
        if counts[key]:
            text.append(f"  {counts[key]} {word}", style)
    return text


def _time_left(elapsed_s: float, done: int, total: int) -> str:
    """Return ``12s, about 30s left``; assumes that the other cases take as long on average."""
    if not done:
        return f"{elapsed_s:.0f}s"
    return f"{elapsed_s:.0f}s, about {elapsed_s / done * (total - done):.0f}s left"
