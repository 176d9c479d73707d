"""SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt, but not in the middle of an import.

An exception that a signal raises during an import is often lost or changed: a class that is being
made turns it into RuntimeError, and an extension module written in Rust turns it into a panic. So a
signal that arrives during an import, or in a block of `held`, is sent again when that is over.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType

from qbdcheck import clock

RETRY_S = 0.02
"""Seconds after which a signal that arrived during an import is sent again."""
LONGEST_IMPORT_S = 10.0
"""Seconds after which a signal interrupts the import, too."""
_IMPORT = "<frozen importlib._bootstrap>"
_held = 0

received: list[int] = []
"""Numbers of the signals that arrived, in order. A signal that was sent again is there twice."""
_deferred: list[float] = []
"""Times at which a signal came during an import and was not raised yet."""


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Raise KeyboardInterrupt in the block for SIGINT, SIGTERM and SIGHUP.

    A signal that the parent ignores stays ignored: with nohup, a run outlives its terminal.
    """
    received.clear()
    _deferred.clear()
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    numbers = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, _interrupt) for number in numbers}
    before[signal.SIGALRM] = signal.signal(signal.SIGALRM, _send_again)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
    if _deferred:
        raise KeyboardInterrupt


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Let no signal raise in the block. For short blocks: a fork, or a directory and its owner."""
    global _held  # noqa: PLW0603  # signal handlers belong to the process, too
    _held += 1
    try:
        yield
    finally:
        _held -= 1


def _interrupt(number: int, frame: FrameType | None) -> None:
    received.append(number)
    _deferred.append(clock.now_s())
    if _must_wait(frame) and _deferred[-1] < _deferred[0] + LONGEST_IMPORT_S:
        signal.setitimer(signal.ITIMER_REAL, RETRY_S)
        return
    _deferred.clear()
    raise KeyboardInterrupt


def _send_again(_number: int, frame: FrameType | None) -> None:
    """Send the last signal to whichever handler is installed now, when the import is over."""
    if _must_wait(frame) and clock.now_s() < _deferred[0] + LONGEST_IMPORT_S:
        signal.setitimer(signal.ITIMER_REAL, RETRY_S)
        return
    _deferred.clear()
    os.kill(os.getpid(), received[-1])


def _must_wait(frame: FrameType | None) -> bool:
    if _held:
        return True
    while frame is not None:
        if frame.f_code.co_filename == _IMPORT:
            return True
        frame = frame.f_back
    return False
