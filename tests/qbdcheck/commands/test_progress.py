"""What a command says if it takes long."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import NoReturn

import pytest

from qbdcheck.arguments import parse
from qbdcheck.commands.progress import Progress
from qbdcheck.errors import SetupError
from qbdcheck.pytest_integration import session


def test_long_command_says_what_it_is_at(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("a test", every_s=0.05) as progress:
        progress.step = "the second step"
        time.sleep(1)
    lines = capsys.readouterr().err.splitlines()[1:]  # the first may be earlier
    assert lines
    assert {line.partition(" s, ")[2] for line in lines} == {"now: the second step"}


def test_a_run_says_that_it_probes_its_target(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    @contextmanager
    def told() -> Iterator[None]:
        seen.append("begin")
        yield
        seen.append("end")

    def probe(*_: object, **__: object) -> NoReturn:
        seen.append("probe")
        raise SetupError("the target does not start")

    monkeypatch.setattr(session, "build_run", probe)
    monkeypatch.setattr(session, "reporters_for", lambda _: [])
    options = parse(["1"])
    run = session.CheckSession(options, [], None, progress=told)  # type: ignore[arg-type]
    assert run.pytest_runtestloop(SimpleNamespace(config=None))  # type: ignore[arg-type]
    assert isinstance(run.error, SetupError)
    assert seen == ["begin", "probe"]


def test_quick_command_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("a test"):
        pass
    assert capsys.readouterr().err == ""
