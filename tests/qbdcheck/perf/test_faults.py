"""A stall counts for each request that was due meanwhile, on a real server and in figures."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

import pytest

from qbdcheck.commands import perf_faults
from qbdcheck.errors import UsageError
from qbdcheck.files import ROOT
from qbdcheck.machine_speed import THIS, StarvedError
from qbdcheck.options import TargetOptions
from qbdcheck.perf import faults
from qbdcheck.perf.faults import Load, Shaded, Timeline
from qbdcheck.seed import Seed
from qbdcheck.targets import description as descriptions
from qbdcheck.targets.session import TargetSession

PROFILE = ROOT / "targets" / "reference.yaml"


def test_each_request_that_was_due_in_a_stall_is_late() -> None:
    with tempfile.TemporaryDirectory(prefix="q") as path:
        session = TargetSession(descriptions.load(PROFILE), TargetOptions(), Path(path))
        try:
            disk = session.new_disk(faults.SIZE, prefill=False)
            with Load("paused", [disk.uri], 30.0, Seed(1)) as load:
                load.wait_for_answers(30.0)
                with load.shaded("paused"):
                    os.kill(disk.backend.pid, signal.SIGSTOP)
                    load.wait(0.5)
                    os.kill(disk.backend.pid, signal.SIGCONT)
                load.wait_for_answers(30.0)
        finally:
            session.close()
    found = load.timeline
    assert found.longest_stall_s >= 0.4 and not found.unanswered
    late = [latency_s for at_s, latency_s in found.requests if latency_s > 0.1]
    assert len(late) >= 20, "two clients with 50 requests a second had about 40 due"
    (span,) = found.spans
    assert span.end_s - span.start_s >= 0.5
    windows = {one["at_s"]: one["100"] for one in found.over_time()}
    worst_at_s = max(windows, key=lambda at_s: windows[at_s])
    assert span.start_s - 0.3 <= worst_at_s <= span.end_s


def test_a_stall_beyond_the_limit_fails_unless_the_machine_is_starved(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("hdrh", reason="hdrhistogram is not installed")
    one = Timeline("node killed", [(0.0, 0.01), (0.1, 6.0)], [Shaded(0.1, 1.0, "dead")])
    monkeypatch.setattr(perf_faults, "must_not_be_starved", lambda _: None)
    assert perf_faults.judge(one, 5.0) and not perf_faults.judge(one, 7.0)
    text = capsys.readouterr().out
    assert "FAIL  node killed: a request waited for 6.0 s; failover: 5 s in the profile" in text

    def starved(late: str) -> None:
        raise StarvedError(late, THIS.recent())

    monkeypatch.setattr(perf_faults, "must_not_be_starved", starved)
    with pytest.raises(StarvedError, match=r"a stall of 6\.0 s"):
        perf_faults.judge(one, 5.0)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("5 minutes", r"failover: not a time: use 5 s or 500 ms"),
        ("0 s", r"failover: .*greater than 0"),
        ("-1", r"failover: .*greater than 0"),
    ],
)
def test_a_wrong_limit_in_the_profile_is_one_line(tmp_path: Path, value: str, message: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"{PROFILE.read_text()}failover: {value}\n")
    with pytest.raises(UsageError, match=rf"mine.yaml:\d+: {message}"):
        descriptions.load(file)
