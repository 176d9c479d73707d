"""Settings of all tests: a slow machine must not fail a property test; Ctrl-C works everywhere."""

from __future__ import annotations

import os
import signal

from hypothesis import settings

# CI judges a change: the same examples each time. At a desk each run tries new ones.
settings.register_profile("qbdcheck", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("qbdcheck")

# A shell starts the commands in its background with SIGINT ignored, nohup with SIGHUP, and their
# children inherit that. A handler is not inherited: programs of the tests get the default.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)
