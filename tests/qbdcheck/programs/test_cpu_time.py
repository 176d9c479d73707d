"""The CPU time of processes, also of threads that ended; of others on the machine."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from qbdcheck import clock
from qbdcheck.machine_speed import Limit
from qbdcheck.programs.cpu_time import Meter, busy_s, ended_children_s, tree_s
from qbdcheck.programs.process import Process, run


def _burn(seconds: float) -> None:
    start_s = clock.thread_cpu_s()
    while clock.thread_cpu_s() - start_s < seconds:
        pass


def test_threads_that_ended_still_count() -> None:
    before_s = tree_s([os.getpid()])
    thread = threading.Thread(target=_burn, args=(0.05,))
    thread.start()
    thread.join()
    assert tree_s([os.getpid()]) - before_s >= 0.05


def test_a_child_that_ended_still_counts_for_its_parent(tmp_path: Path) -> None:
    burn = "import time\nwhile time.process_time() < 0.2: pass"
    script = (
        "import os, sys, time\n"
        "pid = os.fork()\n"
        f"if not pid:\n    exec({burn!r})\n    os._exit(0)\n"
        "os.waitpid(pid, 0)\nprint('done', flush=True)\ntime.sleep(60)\n"
    )
    parent = Process(["python3", "-c", script], tmp_path, "parent")
    try:
        limit = Limit(30)
        while "done" not in parent.output():
            assert not limit.is_over
            clock.pause(0.02)
        assert tree_s([parent.pid]) >= 0.19
        assert clock.process_cpu_s(parent.pid) < tree_s([parent.pid]) - 0.15
    finally:
        parent.kill()


def test_programs_that_ended_are_the_client() -> None:
    meter, before_s = Meter(()), ended_children_s()
    run(["python3", "-c", "while __import__('time').process_time() < 0.1: pass"])
    used = meter.read()
    assert ended_children_s() - before_s >= 0.1 and used.client_s >= 0.1
    assert used.server_s is None and 0 <= used.others <= 1


def test_the_machine_is_read(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu  100 0 100 700 100 0 0 100 5 5\ncpu0 1\n")
    ticks = os.sysconf("SC_CLK_TCK")
    assert busy_s(tmp_path) == (300 / ticks, 1100 / ticks)


def test_a_process_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ProcessLookupError, match="no process"):
        clock.process_cpu_s(2**22 - 1)
