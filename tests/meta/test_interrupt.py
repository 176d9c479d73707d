"""The runner is interrupted or killed: reports are complete where possible, and nothing is left."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

from qbdcheck.files import ROOT
from tests.meta.toys import Toy

BODY = """
import os, socket, subprocess, sys, time
listener = socket.socket(socket.AF_UNIX)
listener.bind(str(scratch / "socket"))
subprocess.Popen(["sleep", "613.25"])
subprocess.Popen(["sleep", "613.25"], start_new_session=True)
if os.fork() == 0:
    os.setsid()
    time.sleep(600)
(scratch.parent / "up").write_text("")
time.sleep(600)
"""


def start(toy: Toy, *arguments: str) -> subprocess.Popen[str]:
    """Start a run, and return when its second case runs; this case has all kinds of processes."""
    toy.case("001_passes", "pass")
    toy.case("002_busy", BODY, "scratch")
    toy.case("003_never", "pass")
    junit = toy.directory / "junit.xml"
    process = subprocess.Popen(
        toy.argv("1-", "--junit", str(junit), *arguments),
        env=toy.environment, cwd=ROOT, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    wait_for(lambda: list(toy.temporary.glob("*/up")), process)
    return process


def wait_for(what: object, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 30
    while not what():  # type: ignore[operator]
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def nothing_left_within(toy: Toy, seconds: float) -> list[str]:
    deadline = time.monotonic() + seconds
    while (left := toy.left_over()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_writes_its_reports_and_leaves_nothing(
    toy: Toy, number: signal.Signals
) -> None:
    process = start(toy)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert toy.left_over() == []
    assert "Traceback" not in out + err
    assert [case["case_id"] for case in toy.events() if "verdict" in case] == ["001_passes"]
    assert toy.events()[-1]["interrupted"] is True
    assert "001_passes" in (toy.directory / "junit.xml").read_text()


def test_ctrl_c_does_not_interrupt_a_case_directly(toy: Toy) -> None:
    process = start(toy)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130
    assert toy.left_over() == []


def test_sigkill_of_the_runner_leaves_no_process_socket_or_file(toy: Toy) -> None:
    process = start(toy)
    process.kill()
    # The reader of the output sees its end at once, although the reaper may still be running.
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], 10)[0]
    process.communicate(timeout=20)
    assert nothing_left_within(toy, 10) == []


def test_sigkill_right_after_the_start_leaves_nothing(toy: Toy) -> None:
    toy.case("001_busy", BODY, "scratch")
    process = subprocess.Popen(
        toy.argv(), env=toy.environment, cwd=ROOT, text=True, stdout=subprocess.DEVNULL
    )
    wait_for(lambda: list(toy.temporary.iterdir()), process)
    time.sleep(0.05)
    process.kill()
    process.wait()
    assert nothing_left_within(toy, 10) == []


def test_a_killed_run_can_be_resumed_where_it_stopped(toy: Toy) -> None:
    process = start(toy, "--seed", "77")
    process.kill()
    process.communicate(timeout=20)
    toy.case("002_busy", "assert int(seed) >= 0", "seed")
    done = toy.run("--resume")
    assert [case["case_id"] for case in done.ends] == ["002_busy", "003_never"]
    assert done.code == 0
    assert done.events[0]["seed"] == 77
    again = toy.run("--resume")
    assert (again.code, again.err) == (2, "check: the last run is complete: nothing to resume\n")


def test_a_run_ends_when_its_reader_exits_and_leaves_nothing(toy: Toy) -> None:
    for number in range(1, 9):
        toy.case(f"00{number}_prints", "import time\ntime.sleep(0.1)")
    process = subprocess.Popen(
        toy.argv("--tap"), env=toy.environment, cwd=ROOT, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()
    assert process.returncode == 130
    assert toy.left_over() == []


def test_durations_are_kept_and_a_damaged_record_is_not_an_error(toy: Toy) -> None:
    toy.case("001_passes", "pass")
    toy.run()
    record = next(Path(toy.cache / "elapsed").glob("*.json"))
    assert json.loads(record.read_text())["001_passes"]["elapsed_s"] > 0
    assert toy.run().cases["001_passes"]["last_s"] is not None
    record.write_text('{"001_passes": ')
    damaged = toy.run()
    assert (damaged.code, damaged.cases["001_passes"]["last_s"]) == (0, None)
