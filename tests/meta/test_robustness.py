"""Unusual environments: one clear line, the right exit code, no traceback."""

from __future__ import annotations

import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

from qbdcheck.files import ROOT
from tests.meta.toys import Finished, Toy


def shell(toy: Toy, redirection: str, *arguments: str, **changed: str) -> Finished:
    """Run ./check in bash with a redirection or pipe behind it."""
    command = f"{shlex.join(toy.argv(*arguments))} {redirection}"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        env={**toy.environment, **changed},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Finished(done.returncode, done.stdout, done.stderr, [])


def one_line(done: Finished, code: int, message: str) -> None:
    assert (done.code, done.err.splitlines()) == (code, [message])


@pytest.mark.parametrize("arguments", [["1"], ["-l"], ["-n"], ["--help"], ["--tap"], ["--version"]])
def test_a_full_output_device_is_one_line(toy: Toy, arguments: list[str]) -> None:
    toy.case("001_passes", "pass")
    message = "check: cannot write to standard output: No space left on device"
    one_line(shell(toy, ">/dev/full", *arguments), 2, message)
    assert toy.left_over() == []


@pytest.mark.parametrize("arguments", [["1"], ["-l"], ["--help"]])
def test_a_closed_output_is_one_line(toy: Toy, arguments: list[str]) -> None:
    toy.case("001_passes", "pass")
    one_line(shell(toy, ">&-", *arguments), 2, "check: standard output is closed")
    assert toy.left_over() == []


def test_closed_input_and_error_streams_do_not_matter(toy: Toy) -> None:
    toy.case("001_passes", "pass")
    assert shell(toy, "<&- 2>&-", "1").code == 0


def test_a_reader_that_exits_does_not_give_the_exit_code_of_a_failed_case(toy: Toy) -> None:
    for number in range(1, 30):
        toy.case(f"{number:03}_passes", "pass")
    for arguments in (["1-"], ["-l"], ["1-", "--tap"]):
        done = shell(toy, "| head -c 1 | cat", *arguments)
        assert done.code in (0, 130), arguments
        assert done.err == ""
    gone = shell(toy, "> >(exec true)", "-l")
    assert (gone.code, gone.err) == (130, "")
    assert toy.left_over() == []


def test_reports_are_written_although_the_reader_exited(toy: Toy) -> None:
    toy.case("001_passes", "import time\ntime.sleep(0.5)")
    report = toy.directory / "report.json"
    done = shell(toy, "> >(exec true)", "1", "--json", str(report))
    assert done.code == 130
    assert report.exists()


@pytest.mark.parametrize("wait_s", [0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0])
def test_an_interrupt_in_the_first_second_is_silent(toy: Toy, wait_s: float) -> None:
    toy.case("001_waits", "import time\ntime.sleep(20)")
    process = subprocess.Popen(
        toy.argv("1"),
        env=toy.environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not handles(process.pid, signal.SIGTERM):  # nohup ignores SIGHUP
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)
    time.sleep(wait_s)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert "Traceback" not in err
    assert process.returncode == 130, err
    assert toy.left_over() == []


def handles(pid: int, number: signal.Signals) -> bool:
    """Return whether a process has a handler for a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    (caught,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught, 16) >> (number - 1) & 1)


@pytest.mark.parametrize("module", ["qbdcheck.cli", "qbdcheck.arguments", "qbdcheck.plugin"])
def test_an_interrupt_during_an_import_is_silent(toy: Toy, module: str) -> None:
    toy.case("001_passes", "pass")
    program = f"""
import runpy, sys
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            exec("raise KeyboardInterrupt")
sys.meta_path.insert(0, Interrupt())
runpy.run_module("qbdcheck", run_name="__main__", alter_sys=True)
"""
    python, _, _, *arguments = toy.argv("1")
    done = subprocess.run(
        [python, "-c", program, *arguments],
        env=toy.environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (130, "")
    assert toy.left_over() == []


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("TMPDIR", "/no/such", "TMPDIR=/no/such is not a directory; set TMPDIR to another one"),
        ("TMPDIR", "/dev/null", "TMPDIR=/dev/null is not a directory; set TMPDIR to another one"),
        (
            "HOME",
            "/nonexistent",
            "HOME=/nonexistent is not a directory; set HOME, or XDG_CACHE_HOME for the cache",
        ),
    ],
)
def test_a_missing_directory_is_refused(toy: Toy, name: str, value: str, message: str) -> None:
    toy.case("001_passes", "pass")
    del toy.environment["XDG_CACHE_HOME"]
    one_line(shell(toy, "", "1", **{name: value}), 2, f"check: {message}")
    assert not Path("/nonexistent").exists()
    assert shell(toy, "", "-l", **{name: value}).code == 0


def test_a_run_says_that_its_results_are_not_saved(toy: Toy) -> None:
    toy.case("001_passes", "pass")
    toy.environment["XDG_CACHE_HOME"] = "/proc/no/such"
    done = shell(toy, "", "1")
    assert done.code == 0
    assert "results: not saved, /proc/no/such/qbdcheck/results cannot be written" in done.out


def test_an_empty_shard_is_refused(toy: Toy) -> None:
    toy.case("001_passes", "pass")
    message = "check: nothing to run: shard 2/2 is empty: there are more shards than cases"
    one_line(shell(toy, "", "--shard", "2/2"), 2, message)
    assert shell(toy, "", "--shard", "1/2").code == 0


@pytest.mark.parametrize(("flag", "program"), [("-gdb", "gdbserver"), ("-valgrind", "valgrind")])
def test_a_missing_debugger_is_refused(toy: Toy, flag: str, program: str) -> None:
    toy.case("001_passes", "pass")
    programs = toy.directory / "bin"
    programs.mkdir()
    message = f"check: {flag} needs the program {program}, which is not installed: "
    message += f"apt-get install {program}, or the same with dnf"
    for path in (*Path("/bin").iterdir(), *Path("/usr/bin").iterdir()):
        if path.name != program and not (programs / path.name).is_symlink():
            (programs / path.name).symlink_to(path)
    one_line(shell(toy, "", flag, "1", PATH=str(programs)), 2, message)


@pytest.mark.parametrize("flag", ["--html", "--json", "--junit", "--events", "-X"])
def test_an_empty_path_is_refused(toy: Toy, flag: str) -> None:
    toy.case("001_passes", "pass")
    done = shell(toy, "", flag, "")
    assert done.code == 2
    assert done.err.endswith(": the path is empty\n")
    assert done.err.count("\n") == 1
