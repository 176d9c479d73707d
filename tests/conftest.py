"""Settings of all tests: a slow machine must not fail a property test; Ctrl-C works everywhere."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("qbdcheck", deadline=None)
settings.load_profile("qbdcheck")

# A shell starts the commands in its background with SIGINT ignored, and their children inherit it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _programs_die_by_sighup() -> Iterator[None]:
    """Let programs that a test starts die by SIGHUP, also below nohup, which ignores it."""
    before = signal.getsignal(signal.SIGHUP)
    if before is not signal.SIG_IGN or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGHUP, _ignore)  # a handler is not inherited: programs get the default
    yield
    signal.signal(signal.SIGHUP, before)


def _ignore(*_: object) -> None:
    """Ignore a signal."""
