"""``--cluster local:N``: the same verdicts as on one machine, and nothing is left after Ctrl-C."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from qbdcheck.files import ROOT
from tests.meta.conftest import toy
from tests.meta.toys import Toy
from tests.qbdcheck.workers.dask_processes import without_lanes

pytest.importorskip("distributed", reason="the optional package distributed is not installed")
__all__ = ["toy"]

DEPENDS = """
assert seed.stream("x").random() < 0.5, f"drew {seed.stream('x').random()}"
"""
WRONG = """
(scratch / "some.log").write_text("a line")
print("said")
disk = new_disk("1M")
with disk.volume_path.open("r+b") as volume:
    volume.write(bytes(4096))
disk.verify()
"""
BUSY = """
import os, subprocess, time
subprocess.Popen(["sleep", "613.75"])
subprocess.Popen(["sleep", "613.75"], start_new_session=True)
(DIRECTORY / "up").write_text("")
time.sleep(600)
"""
OF_ONE_RUN = ("elapsed_s", "last_s", "artefacts", "starved", "first_try")


def ends(toy: Toy) -> dict[str, dict[str, Any]]:
    """Return the results, without what differs from run to run."""
    found = {}
    for one in toy.events():
        if "verdict" in one:
            kept = {key: value for key, value in one.items() if key not in OF_ONE_RUN}
            places = ("damage", "offset", "length")  # stamps have the time of the write
            kept["findings"] = [[it[place] for place in places] for it in kept["findings"]]
            text = re.sub(r"[\w./-]*/qc-[\w./-]*", "PATH", json.dumps(kept))
            found[one["case_id"]] = json.loads(re.sub("0x[0-9a-f]+", "ADDRESS", text))
    return found


def retries(toy: Toy) -> dict[int, dict[str, Any]]:
    """Return the rates of --retry by the number of the case."""
    return {one["number"]: one for one in toy.events() if one["event"] == "case_retried"}


def test_verdicts_are_those_of_one_machine(toy: Toy) -> None:
    toy.case("001_passes", "pass")
    for number in range(2, 6):
        toy.case(f"{number:03d}_depends_on_the_seed", DEPENDS, "seed")
    toy.case("006_reads_wrong_data", WRONG, "scratch, new_disk")
    toy.case("007_is_broken", "raise KeyError('x')")
    toy.case("008_cannot_run", "pass", requires="snapshot")
    toy.case("009_has_no_program", "pass", programs="no-such-program")
    results = toy.directory / "results"
    flags = ["1-9", "--seed", "7", "--strict", "--retry", "1", "--results", str(results)]
    one = toy.run(*flags)
    alone, alone_retried = ends(toy), retries(toy)
    assert {end["verdict"] for end in alone.values()} == {"pass", "fail", "broken"}
    argv = [*without_lanes(toy.argv(*flags)), "--cluster", "local:2", "--junit"]
    done = subprocess.run(
        [*argv, str(toy.directory / "junit.xml")], env=toy.environment, cwd=ROOT,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == one.code == 1, done.stdout + done.stderr
    for case_id, end in ends(toy).items():
        assert end == alone.pop(case_id)
    assert not alone
    assert retries(toy) == alone_retried
    assert len(alone_retried) >= 3
    assert (toy.directory / "junit.xml").read_text().count("<testcase") == 9
    wrong = next(end for end in toy.events() if end.get("number") == 6 and "verdict" in end)
    assert {finding["damage"] for finding in wrong["findings"]} == {"zeroed"}
    assert {Path(path).name for path in wrong["artefacts"]} >= {"some.log", "full.log"}
    assert all(Path(path).stat().st_size for path in wrong["artefacts"])
    assert "said" in next(
        Path(path).read_text() for path in wrong["artefacts"] if path.endswith("full.log")
    )
    assert left_within(toy, 10) == []


def test_ctrl_c_ends_all_processes_and_the_rest_can_be_resumed(toy: Toy) -> None:
    toy.case("001_passes", "pass")
    toy.case("002_busy", BUSY.replace("DIRECTORY", "__import__('pathlib').Path(r'X')")
             .replace("X", str(toy.directory)))  # fmt: skip
    run = subprocess.Popen(
        [*without_lanes(toy.argv("1-2")), "--cluster", "local:2"], env=toy.environment, cwd=ROOT,
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    deadline_s = time.monotonic() + 300
    while not ((toy.directory / "up").exists() and "001_passes" in ends(toy)):
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does: all processes of the group get it
    out, err = run.communicate(timeout=300)
    assert run.returncode == 130, out + err
    assert "Traceback" not in out + err
    assert set(ends(toy)) == {"001_passes"}
    assert left_within(toy, 10) == []
    toy.case("002_busy", "pass")
    again = toy.run("--resume")
    assert [one["case_id"] for one in again.ends] == ["002_busy"], again.out + again.err


def left_within(toy: Toy, seconds: float) -> list[str]:
    """Return the processes and directories that are left after a time."""
    deadline_s = time.monotonic() + seconds
    while (left := toy.left_over(["613.75"])) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    with contextlib.suppress(OSError):
        left = [one for one in left if "resource_tracker" not in one]
    return left
