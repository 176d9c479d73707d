"""The parser of all commands."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest

from qbdcheck import interrupts
from qbdcheck.argument_parser import Parser
from qbdcheck.arguments import parse


def test_a_signal_in_the_middle_of_parsing_interrupts_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    in_the_middle = Parser.parse_known_args

    def interrupted(parser: Parser, *arguments: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return in_the_middle(parser, *arguments)

    monkeypatch.setattr(Parser, "parse_known_args", interrupted)
    with pytest.raises(KeyboardInterrupt), interrupts.raised():
        parse(["1-10"])
        time.sleep(30)
