"""Slowness of the machine is never a fault of the backend: BROKEN, and a second try, alone."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.starved import busy_loops
from qbdcheck.files import ROOT
from tests.meta.toys import Toy
from tests.proc_files import write_proc

SLOW_PROGRAM = "run(['sleep', '600'], timeout_s=0.5)"
SLOW_ONCE = """
from pathlib import Path
mark = Path({mark!r})
first, _ = not mark.exists(), mark.touch()
run(['sleep', '600' if first else '0'], timeout_s=0.5)
"""


@contextlib.contextmanager
def starved(toy: Toy, until: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Let two tasks want each core all the time, until `until` is true or the block ends."""
    runnable = 2 * len(os.sched_getaffinity(0)) + 1
    proc, over = Path(toy.environment["QBDCHECK_PROC"]), threading.Event()

    def write() -> None:
        start_s = time.monotonic()
        while not over.wait(0.02):
            waiting_us = int((time.monotonic() - start_s) * 1e6)
            if until():
                write_proc(proc, waiting_us={"cpu": waiting_us})
                return
            write_proc(proc, waiting_us={"cpu": waiting_us}, runnable=runnable)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        over.set()
        writer.join()


def is_postponed(toy: Toy) -> bool:
    path = toy.directory / "events"
    return path.exists() and '"case_postponed"' in path.read_text()


def test_a_limit_that_is_exceeded_on_a_starved_machine_is_broken_after_a_second_try(
    toy: Toy,
) -> None:
    toy.case("001_slow", SLOW_PROGRAM, "run")
    files = [toy.directory / name for name in ("run.json", "run.xml", "run.html")]
    flags = [f"--{path.suffix[1:].replace('xml', 'junit')}={path}" for path in files]
    with starved(toy):
        done = toy.run("001", *flags, timeout_s=200)
    case = done.cases["001_slow"]
    assert (done.code, done.verdict("001_slow")) == (1, "broken")
    assert "; a task waited for a CPU in " in case["message"]
    assert case["message"].startswith("starved: ")
    assert "runnable tasks on" in case["message"]
    assert "sleep did not end within 0.5 s" in case["message"]
    assert case["findings"] == []
    assert case["starved"]["slowdown"] > 1.5 and case["starved"]["cpu"] > 0.5
    assert case["first_try"]["verdict"] == "broken"
    assert case["first_try"]["message"].startswith("starved: ")
    names = [event["event"] for event in done.events]
    once = ["case_started", "case_postponed", "case_started", "case_ended"]
    assert names == ["run_started", *once, "run_ended"]
    assert done.events[-1]["counts"] == {
        "fail": 0,
        "broken": 1,
        "pass": 0,
        "not_run": 0,
        "known": 0,
    }
    assert "starved" in done.out and "runs again at the end, alone" in done.out
    assert "second try, alone; the first was starved: " in done.out
    report, junit, page = (path.read_text() for path in files)
    assert json.loads(report)["cases"] == [{k: v for k, v in case.items() if k != "event"}]
    (error,) = ET.fromstring(junit).iter("error")
    assert error.get("type") == "starved"
    assert "second try, alone" in junit
    assert "starved" in page and "second try" in page


def test_the_second_try_is_alone_at_the_end_and_its_verdict_counts(toy: Toy) -> None:
    toy.case("001_slow", SLOW_ONCE.format(mark=str(toy.directory / "mark")), "run")
    for number in range(2, 6):
        toy.case(f"00{number}_other", "import time\ntime.sleep(0.5)")
    with starved(toy, until=lambda: is_postponed(toy)):
        done = toy.run("-j2", "1-", timeout_s=200)
    case = done.cases["001_slow"]
    assert (done.code, done.verdict("001_slow"), case["starved"]) == (0, "pass", None)
    assert case["first_try"]["message"].startswith("starved: ")
    last = [(event["event"], event.get("case_id")) for event in done.events[-3:]]
    assert last == [("case_started", "001_slow"), ("case_ended", "001_slow"), ("run_ended", None)]
    assert len(done.ends) == 5
    assert "Passed all 5 cases" in done.out


def test_a_hang_of_the_second_try_on_an_idle_machine_is_a_failure(toy: Toy) -> None:
    toy.case("001_hangs", "import time\ntime.sleep(600)", limit_s=1)
    with starved(toy, until=lambda: is_postponed(toy)):
        done = toy.run("001", timeout_s=200)
    case = done.cases["001_hangs"]
    assert (done.code, done.verdict("001_hangs")) == (1, "fail")
    assert case["message"] == "timed out after 1 s"
    assert [finding["damage"] for finding in case["findings"]] == ["hang"]
    assert case["first_try"]["message"].startswith("starved: timed out after 1 s; ")


def test_a_hang_on_an_idle_machine_is_a_failure_at_once_with_its_request(toy: Toy) -> None:
    body = """
    rules.add({"event": "read_aio", "action": "hang"})
    with nbd_io(disk) as client:
        client.read(65536, 4096)
    """
    toy.case("001_hangs", body, "disk, nbd_io, rules", limit_s=5)
    done = toy.run("-t", "reference", "001")
    case = done.cases["001_hangs"]
    assert (done.code, done.verdict("001_hangs"), case["first_try"]) == (1, "fail", None)
    held = case["details"].partition("Requests in flight at disk:\n")[2].partition("\n\n")[0]
    assert '"offset": 65536' in held and "read" in held


def test_wrong_data_on_a_starved_machine_is_a_failure_at_once(toy: Toy) -> None:
    toy.case("001_wrong", "assert 1 == 2")
    with starved(toy):
        done = toy.run("001")
    assert (done.code, done.verdict("001_wrong")) == (1, "fail")
    assert done.cases["001_wrong"]["first_try"] is None


def test_a_starved_case_has_its_verdict_also_after_an_interruption(toy: Toy) -> None:
    toy.case("001_slow", SLOW_PROGRAM, "run")
    toy.case("002_waits", "import time\ntime.sleep(600)")
    with starved(toy), subprocess.Popen(
        toy.argv("1-"), env=toy.environment, cwd=ROOT, stdout=subprocess.DEVNULL
    ) as run:  # fmt: skip
        while not is_postponed(toy):
            time.sleep(0.05)
        run.terminate()
        assert run.wait(60) == 130
    ends = {event["case_id"]: event for event in toy.events() if event["event"] == "case_ended"}
    assert ends["001_slow"]["verdict"] == "broken"
    assert ends["001_slow"]["starved"] and not ends["001_slow"]["first_try"]


def test_a_time_out_of_the_command_line_reaches_the_programs(toy: Toy) -> None:
    toy.case("001_slow", SLOW_PROGRAM.replace("'600'", "'0.8'"), "run")
    assert toy.run("001").verdict("001_slow") == "fail"
    assert toy.run("--timeout", "300", "001").verdict("001_slow") == "pass"


def test_real_busy_loops_are_seen(toy: Toy, tmp_path: Path) -> None:
    del toy.environment["QBDCHECK_PROC"]
    toy.case("001_slow", SLOW_PROGRAM, "run")
    with busy_loops(tmp_path, per_core=3):
        done = toy.run("001", timeout_s=300)
    case = done.cases["001_slow"]
    assert (done.code, done.verdict("001_slow")) == (1, "broken")
    assert case["starved"]["slowdown"] > 1.5
    assert case["first_try"]["message"].startswith("starved: ")
