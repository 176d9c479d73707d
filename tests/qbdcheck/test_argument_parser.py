"""The parser of all commands."""

from __future__ import annotations

import os
import signal
import time

import pytest

from qbdcheck import interrupts
from qbdcheck.argument_parser import Parser
from qbdcheck.arguments import parse


def test_a_signal_in_the_middle_of_parsing_interrupts_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usage = Parser.format_usage

    def interrupted(parser: Parser) -> str:
        os.kill(os.getpid(), signal.SIGINT)
        return usage(parser)

    monkeypatch.setattr(Parser, "format_usage", interrupted)
    with pytest.raises(KeyboardInterrupt), interrupts.raised():
        parse(["1-10"])
        time.sleep(30)
