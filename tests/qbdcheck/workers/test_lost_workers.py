"""Workers that are killed, paused or cut off lose no result, and no result counts twice."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from qbdcheck.files import ROOT
from tests.meta.conftest import toy
from tests.meta.toys import Toy
from tests.qbdcheck.workers.dask_processes import Scheduler, logs, without_lanes

pytest.importorskip("distributed", reason="the optional package distributed is not installed")
__all__ = ["toy"]

WORKER = """
import os, pathlib, signal, time
def parent(pid):
    return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
engine = os.getppid()
worker = parent(engine)
here = pathlib.Path(DIRECTORY)
def first(name):
    try:
        (here / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
"""
ONCE = """
if first("NAME"):
    os.kill(VICTIM, signal.SIGKILL)
    time.sleep(600)
"""
WAITS = """
if first("NAME.tmp"):
    (here / "NAME.tmp").write_text(str(worker))
    (here / "NAME.tmp").rename(here / "NAME")
    (here / "NAME.tmp").touch()
    time.sleep(600)
"""


def add(toy: Toy, stem: str, body: str) -> None:
    toy.case(stem, WORKER.replace("DIRECTORY", repr(str(toy.directory))) + body)


def wait_for(path: Path, run: subprocess.Popen[str]) -> str:
    deadline_s = time.monotonic() + 300
    while not path.exists():
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    return path.read_text()


def test_no_result_is_lost_or_counted_twice(toy: Toy) -> None:
    """Of six workers one survives; each case has exactly one result, and the right one."""
    add(toy, "001_kills_its_worker", ONCE.replace("NAME", "a").replace("VICTIM", "worker"))
    add(toy, "002_kills_its_engine", ONCE.replace("NAME", "b").replace("VICTIM", "engine"))
    add(toy, "003_is_paused", WAITS.replace("NAME", "paused"))
    add(toy, "004_is_cut_off", WAITS.replace("NAME", "cut"))
    add(toy, "005_kills_all", "os.kill(worker, signal.SIGKILL); time.sleep(600)")
    for number in range(6, 12):
        toy.case(f"{number:03d}_passes", "pass")
    toy.environment["QBDCHECK_WORKER_SILENCE"] = "5"
    toy.case("012_needs_a_program", "pass", programs="only-here")
    with Scheduler(toy) as scheduler:
        relays = {}
        for name in "AB":
            relay = scheduler.relay()
            able = {"PATH": f"{program(toy)}:{os.environ['PATH']}"} if name == "B" else {}
            relays[scheduler.worker(name, relay.address, **able).pid] = relay
        scheduler.worker("other", scheduler.address, PYTHONPATH=str(other_code(toy)))
        each_gets_what_it_can_run(toy, scheduler)
        for name in "CDEF":
            relay = scheduler.relay()
            relays[scheduler.worker(name, relay.address).pid] = relay
        argv = [*without_lanes(toy.argv("1-11")), "--cluster", scheduler.address]
        run = subprocess.Popen(
            argv, env=toy.environment, cwd=ROOT, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        paused = int(wait_for(toy.directory / "paused", run))
        os.kill(paused, signal.SIGSTOP)
        relays[int(wait_for(toy.directory / "cut", run))].cut()
        wait_for_end(toy, "003_is_paused", run)
        os.kill(paused, signal.SIGCONT)  # what it still says does not count
        out, err = run.communicate(timeout=300)
        said = out + err + logs(toy.directory)
    ends = [one for one in toy.events() if "verdict" in one]
    assert Counter(one["number"] for one in ends) == dict.fromkeys(range(1, 12), 1), said
    verdicts = {one["number"]: one["verdict"] for one in ends}
    assert verdicts == {**dict.fromkeys(range(1, 12), "pass"), 5: "broken"}, said
    broken = next(one for one in ends if one["number"] == 5)
    lost = r"worker [A-F] (?:died|was lost)"
    assert re.match(f"it lost 2 workers: {lost}; {lost}", broken["message"])
    assert run.returncode == 1
    assert "DASHBOARD -- http://" in out


def program(toy: Toy) -> Path:
    """Return a directory with a program."""
    directory = toy.directory / "bin"
    directory.mkdir()
    (directory / "only-here").write_text("#!/bin/sh\n")
    (directory / "only-here").chmod(0o755)
    return directory


def other_code(toy: Toy) -> Path:
    """Return a copy of the project with another case."""
    copy = toy.directory / "copy"
    for folder in ("qbdcheck", "blockio", "reference_backend", "oracles", "injectors", "mutants",
                   "suites", "golden", "targets"):  # fmt: skip
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    with (copy / "oracles" / "shadow.py").open("a") as file:
        file.write("# another line\n")
    return copy


def each_gets_what_it_can_run(toy: Toy, scheduler: Scheduler) -> None:
    """Run cases, one of which only worker B can run."""
    argv = [*without_lanes(toy.argv("6-7", "12")), "--repeat", "3"]
    deadline_s = time.monotonic() + 300
    while logs(toy.directory).count("Starting established connection") < 3:
        assert time.monotonic() < deadline_s, logs(toy.directory)
        time.sleep(0.05)
    done = subprocess.run(
        [*argv, "--cluster", scheduler.address], env=toy.environment, cwd=ROOT, text=True,
        capture_output=True, timeout=300, check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr + logs(toy.directory)
    assert done.returncode == 0, said
    verdicts = [(one["number"], one["verdict"]) for one in toy.events() if "verdict" in one]
    assert sorted(verdicts) == [(n, "pass") for n in (6, 6, 6, 7, 7, 7, 12, 12, 12)], said
    assert "worker other (tcp://" in done.stderr, said
    assert "is not used: it has qbdcheck" in done.stderr, said


def wait_for_end(toy: Toy, case_id: str, run: subprocess.Popen[str]) -> None:
    deadline_s = time.monotonic() + 300
    while not any(one.get("case_id") == case_id and "verdict" in one for one in toy.events()):
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
