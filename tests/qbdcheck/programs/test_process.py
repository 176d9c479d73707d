"""Start, wait for and end programs. No program outlives the process that started it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import psutil
import pytest

from qbdcheck.clock import now_s, pause
from qbdcheck.errors import ProgramError, SetupError
from qbdcheck.machine_speed import work_s
from qbdcheck.programs.daemon import Daemon
from qbdcheck.programs.process import Process, describe_exit, run, run_brief, tail


def _is_gone(pid: int, within_s: float = 5.0) -> bool:
    deadline_s = now_s() + within_s
    while now_s() < deadline_s:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        pause(0.005)
    return False


def test_run_returns_output_and_status() -> None:
    done = run(["sh", "-c", "echo out; echo err >&2; cat; exit 3"], check=False, stdin="typed")
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\ntyped", "err\n")


def test_run_raises_with_the_last_output_of_a_program_that_fails() -> None:
    with pytest.raises(ProgramError, match=r"exited with 3: two | three") as caught:
        run(["sh", "-c", "echo two >&2; echo three >&2; exit 3"])
    assert caught.value.returncode == 3
    assert caught.value.stderr == "two\nthree\n"


def test_run_names_the_signal_that_killed_a_program() -> None:
    with pytest.raises(ProgramError, match="killed by SIGABRT"):
        run(["sh", "-c", "kill -ABRT $$"])


def test_run_kills_a_program_that_takes_too_long_and_all_it_started(tmp_path: Path) -> None:
    script = f"sleep 100 & echo $! > {tmp_path}/pid; wait"
    started_s = work_s()
    with pytest.raises(ProgramError, match=r"did not end within 0\.5 s") as caught:
        run(["sh", "-c", script], timeout_s=0.5)
    assert caught.value.returncode is None
    assert work_s() - started_s < 5
    assert _is_gone(int((tmp_path / "pid").read_text()))


def test_run_says_that_a_program_is_not_installed() -> None:
    with pytest.raises(SetupError, match="no-such-program: no such program"):
        run(["no-such-program"])


def test_run_says_that_a_file_may_not_be_executed(tmp_path: Path) -> None:
    file = tmp_path / "plain"
    file.write_text("text")
    with pytest.raises(SetupError, match="not executable"):
        run([file])


def test_undecodable_output_is_escaped() -> None:
    assert run(["printf", r"\377x"]).stdout == "\\xffx"


def test_process_writes_its_output_to_files(tmp_path: Path) -> None:
    process = Process(["sh", "-c", "echo out; echo err >&2; exit 4"], tmp_path, "name")
    assert process.wait(10) == 4
    assert (tmp_path / "name.out").read_text() == "out\n"
    assert (tmp_path / "name.err").read_text() == "err\n"
    assert process.describe() == "sh exited with 4: out | err"


def test_stop_escalates_to_sigkill(tmp_path: Path) -> None:
    process = Process(
        ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"], tmp_path, "stubborn"
    )
    while "ready" not in process.output():
        pause(0.005)
    assert process.is_running
    assert process.stop(grace_s=0.2) == -signal.SIGKILL
    assert not process.is_running


def test_end_of_a_process_ends_what_it_left_in_its_group(tmp_path: Path) -> None:
    process = Process(["sh", "-c", "sleep 100 & echo $!"], tmp_path, "parent")
    process.wait(10)
    assert _is_gone(int(process.output()))


def test_has_ended_within_returns_when_the_process_ends(tmp_path: Path) -> None:
    process = Process(["sleep", "0.1"], tmp_path, "short")
    started_s = now_s()
    assert not process.has_ended_within(0.01)
    assert process.has_ended_within(20)
    assert now_s() - started_s < 5
    assert process.returncode == 0


def test_wait_kills_the_process_and_raises_after_its_time_limit(tmp_path: Path) -> None:
    process = Process(["sleep", "100"], tmp_path, "long")
    with pytest.raises(ProgramError, match="did not end within"):
        process.wait(0.1)
    assert _is_gone(process.pid)


def test_program_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from qbdcheck.programs.process import Process\n"
        "pid = Process(['sleep', '100'], Path(sys.argv[1]), 'orphan').pid\n"
        "line = Path(f'/proc/{pid}/cmdline')\n"  # empty for a moment during exec
        "while b'setpriv' in (seen := line.read_bytes()) or not seen: os.sched_yield()\n"
        "print(pid, flush=True)\n"
        "os._exit(0)\n"
    )
    root = str(Path(__file__).parents[3])
    done = run([sys.executable, "-c", code, str(tmp_path)], env={"PYTHONPATH": root})
    assert _is_gone(int(done.stdout))


def test_program_started_by_a_short_lived_thread_lives_on(tmp_path: Path) -> None:
    started: list[Process] = []
    thread = threading.Thread(
        target=lambda: started.append(Process(["sleep", "100"], tmp_path, "t"))
    )
    thread.start()
    thread.join()
    try:
        # PR_SET_PDEATHSIG strikes when the thread that forked ends; it must not have been that one.
        assert not started[0].has_ended_within(0.3)
    finally:
        started[0].kill()


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208
    Process(["true"], tmp_path, "one").wait(10)
    run(["true"])
    assert len(os.listdir("/proc/self/fd")) <= len(before)  # noqa: PTH208


def test_output_that_cannot_be_written_is_a_setup_error(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="cannot write the output of true to"):
        Process(["true"], tmp_path / "missing", "name")


def test_daemon_is_followed_and_ended_with_its_children(tmp_path: Path) -> None:
    inner = f"sleep 100 & echo $! > {tmp_path}/child; echo $$ > {tmp_path}/pid; wait"
    starter = Process(
        ["setsid", "--fork", "sh", "-c", inner], tmp_path, "starter", leaves_daemon=True
    )
    assert starter.wait(10) == 0
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
        pause(0.005)
    daemon = Daemon(int((tmp_path / "pid").read_text()), starter)
    assert daemon.is_running
    daemon.stop(grace_s=5)
    assert _is_gone(daemon.pid)
    assert _is_gone(int((tmp_path / "child").read_text()))


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (None, "is still running"),
        (0, "exited with 0"),
        (-11, "was killed by SIGSEGV"),
        (-199, "was killed by signal 199"),
    ],
)
def test_exit_status_is_described(code: int | None, expected: str) -> None:
    assert describe_exit(code) == expected


def test_tail_keeps_the_last_lines_on_one() -> None:
    assert tail("a\n\n b \nc\n", 2) == "b | c"


def test_a_brief_run_returns_output_and_status_and_is_killed_in_time() -> None:
    done = run_brief(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")
    assert run_brief(["sh", "-c", "kill -ABRT $$"]).returncode == -signal.SIGABRT
    with pytest.raises(ProgramError, match=r"sleep did not end within 0\.2 s") as caught:
        run_brief(["sleep", "100"], timeout_s=0.2)
    assert caught.value.returncode is None
    with pytest.raises(SetupError, match="no-such-program: no such program"):
        run_brief(["no-such-program"])
