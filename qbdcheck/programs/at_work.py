"""Whether a program that exceeds its time limit works, or waits for an answer that never comes.

A program that gets answers gives up the CPU before each one. A program that hangs in a request does
not run at all.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path

from qbdcheck.clock import now_s

WINDOW_S = 5.0
"""Seconds before the end of the limit that count. A pause of so long is a hang."""
_PER_S = 5.0
"""Switches of each second, at least. Timers of an idle program are rarer."""


class AtWork:
    """Watches a running program. Call `note` about once a second.

    :param pid: process id of the program.
    """

    def __init__(self, pid: int) -> None:
        self._tasks = Path(f"/proc/{pid}/task")
        self._seen: deque[tuple[float, int]] = deque()

    def note(self) -> None:
        """Note how often the program has given up the CPU until now."""
        if self._seen and now_s() - self._seen[-1][0] < WINDOW_S / 10:
            return  # too short to tell
        self._seen.append((now_s(), self._switches()))
        while len(self._seen) > 2 and self._seen[1][0] <= self._seen[-1][0] - WINDOW_S:
            self._seen.popleft()

    @property
    def is_steady(self) -> bool:
        """Whether the program worked in each of the last seconds, for `WINDOW_S` at least."""
        if not self._seen or self._seen[-1][0] - self._seen[0][0] < WINDOW_S:
            return False
        pairs = zip(self._seen, list(self._seen)[1:], strict=False)
        return all(
            after[1] - before[1] >= _PER_S * (after[0] - before[0]) for before, after in pairs
        )

    def _switches(self) -> int:
        """Return the voluntary context switches of all threads; 0 if the program has ended."""
        count = 0
        try:
            for task in self._tasks.iterdir():
                for line in (task / "status").read_text().splitlines():
                    if line.startswith("voluntary_ctxt_switches:"):
                        count += int(line.split()[1])
        except OSError:
            pass
        return count
