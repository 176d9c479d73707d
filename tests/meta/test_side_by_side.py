"""Several runs at the same time share one cache without damage."""

from __future__ import annotations

import json
import subprocess

from qbdcheck.catalogue.history import last_run
from qbdcheck.catalogue.results_root import RunningMark, tidy
from qbdcheck.files import ROOT
from tests.meta.toys import Toy

RUNS = 8


def test_eight_parallel_runs_keep_all_durations_and_the_history(toy: Toy) -> None:
    for number in range(1, RUNS + 1):
        toy.case(f"{number:03}_passes", "pass")
    runs = [
        subprocess.Popen(
            [word for word in toy.argv(str(number)) if word not in ("--events", events(toy))],
            env=toy.environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in range(1, RUNS + 1)
    ]
    for run in runs:
        out, _ = run.communicate(timeout=120)
        assert run.returncode == 0, out
    (elapsed,) = (toy.cache / "elapsed").glob("*.json")
    assert sorted(json.loads(elapsed.read_text())) == [
        f"{number:03}_passes" for number in range(1, RUNS + 1)
    ]
    history = [json.loads(line) for line in (toy.cache / "history.jsonl").read_text().splitlines()]
    assert len(history) == len({line["run"] for line in history}) == RUNS
    last = last_run(toy.cache)
    assert last is not None
    assert len(last.planned) == 1
    assert last.left == []
    results = toy.cache / "results"
    left = [path for path in results.iterdir() if not path.is_symlink()]
    assert {path.name for path in left} == {line["run"] for line in history}
    for one in left:
        assert json.loads((one / "report.json").read_text())["run"]["run_id"] == one.name
        assert sorted(path.name for path in one.iterdir()) == ["events.jsonl", "report.json"]
    assert (results / "latest").resolve() in left


def events(toy: Toy) -> str:
    return str(toy.directory / "events")


def test_the_results_of_a_running_run_are_not_removed(toy: Toy) -> None:
    results = toy.cache / "results"
    oldest = results / "20200101-000000-0001-1"
    second = results / "20200101-000001-0001-1"
    for index in range(25):
        (results / f"20210101-0000{index:02}-0001-1").mkdir(parents=True)
    second.mkdir()
    (second / ".running").touch()
    with RunningMark(oldest):
        (oldest / "full.log").write_text("still being written")
        tidy(results)
        assert (oldest / "full.log").exists()
        assert not second.exists(), "the run that left this mark has died"
        assert len(list(results.iterdir())) == 20 + 1
    assert [path.name for path in oldest.iterdir()] == ["full.log"]
    tidy(results)
    assert not oldest.exists()


def test_a_run_does_not_remove_the_results_of_another_one(toy: Toy) -> None:
    """The first run is so old that 20 runs started after it."""
    toy.case("001_waits", "import time\nlog('here')\ntime.sleep(8)\nassert False", "log")
    toy.case("002_passes", "pass")
    process = subprocess.Popen(
        [*toy.argv("1"), "--events", str(toy.directory / "others")],  # two runs, two files
        env=toy.environment,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )
    results = toy.cache / "results"
    try:
        while process.poll() is None and not (results.is_dir() and list(results.iterdir())):
            pass
        (mine,) = results.iterdir()
        for index in range(25):
            (results / f"29990101-0000{index:02}-0001-1").mkdir()
        assert toy.run("2").code == 0
        assert mine.exists()
        process.wait(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert (mine / "001_waits.raw" / "full.log").read_text().startswith("here")
