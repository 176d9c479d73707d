"""The directory of results: what is kept, the link to the newest run, and parallel runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from qbdcheck.catalogue import results_root
from qbdcheck.catalogue.results_root import RunningMark, link_latest, saved_runs, tidy


def test_only_the_results_of_the_last_runs_are_kept_and_nothing_else_is_touched(
    tmp_path: Path,
) -> None:
    for day in range(10, 32):
        (tmp_path / f"202611{day}-120000-abcd-1").mkdir()
    (tmp_path / "mine").mkdir()
    tidy(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 21
    assert (names[0], names[-1]) == ("20261112-120000-abcd-1", "mine")
    tidy(tmp_path / "none")


def test_the_results_of_a_running_run_are_kept(tmp_path: Path) -> None:
    running = tmp_path / "20200101-000000-0001-1"
    dead = tmp_path / "20200101-000001-0001-1"
    for index in range(20):
        (tmp_path / f"20210101-0000{index:02}-0001-1").mkdir()
    dead.mkdir()
    (dead / ".running").touch()
    with RunningMark(running):
        (running / "full.log").touch()
        tidy(tmp_path)
        assert running.is_dir()
        assert not dead.exists()
    assert [path.name for path in running.iterdir()] == ["full.log"]
    with RunningMark(running / "empty"):
        pass
    assert not (running / "empty").exists()
    tidy(tmp_path)
    assert not running.exists()


def test_a_running_mark_in_an_unwritable_directory_is_not_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with RunningMark(tmp_path / "file" / "run"):
        pass


def make_run(root: Path, name: str, report: bool = True, log_bytes: int = 0) -> Path:
    """Make the results of a run that has ended, or was killed."""
    run = root / name
    (run / "001_a.raw").mkdir(parents=True)
    (run / "001_a.raw" / "full.log").write_bytes(b"x" * log_bytes)
    (run / "events.jsonl").write_text("{}\n")
    if report:
        (run / "report.json").write_text("{}\n")
    return run


def test_older_runs_keep_only_their_report_and_the_oldest_nothing(tmp_path: Path) -> None:
    for index in range(205):
        make_run(tmp_path, f"20261101-{index:06}-0001-1", report=index != 100)
    tidy(tmp_path)
    runs = sorted(tmp_path.iterdir())
    assert len(runs) == 200
    assert [path.name for path in runs[0].iterdir()] == ["report.json"]
    killed = tmp_path / "20261101-000100-0001-1"
    assert [path.name for path in killed.iterdir()] == ["events.jsonl"]
    assert sorted(path.name for path in runs[-20].iterdir()) == [
        "001_a.raw", "events.jsonl", "report.json",
    ]  # fmt: skip
    assert [path.name for path in runs[-21].iterdir()] == ["report.json"]


def test_the_total_size_is_bounded_but_the_newest_run_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results_root, "MOST_BYTES", 2500)
    for day in range(1, 5):
        make_run(tmp_path, f"2026110{day}-000000-0001-1", log_bytes=1000)
    tidy(tmp_path)
    whole = [run.name for run in sorted(tmp_path.iterdir()) if (run / "001_a.raw").exists()]
    assert whole == ["20261103-000000-0001-1", "20261104-000000-0001-1"]
    monkeypatch.setattr(results_root, "MOST_BYTES", 10)
    tidy(tmp_path)
    assert (tmp_path / "20261104-000000-0001-1" / "001_a.raw" / "full.log").exists()


def test_runs_are_in_the_order_of_their_start_and_then_of_their_end(tmp_path: Path) -> None:
    first = make_run(tmp_path, "20261101-000000-ffff-9")
    second = make_run(tmp_path, "20261101-000000-0000-1")
    third = make_run(tmp_path, "20261102-000000-0000-1", report=False)
    running = make_run(tmp_path, "20261103-000000-0000-1")
    os.utime(first / "report.json", ns=(1, 1))
    os.utime(second / "report.json", ns=(2, 2))
    (tmp_path / "notes").mkdir()
    with RunningMark(running):
        assert saved_runs(tmp_path) == [first, second, third]
        link_latest(tmp_path)
        assert (tmp_path / "latest").readlink() == Path(second.name), "the third was killed"
    link_latest(tmp_path)
    assert (tmp_path / "latest").readlink() == Path(running.name)
    assert saved_runs(tmp_path / "none") == []


def test_a_link_is_replaced_but_never_a_directory_of_the_user(tmp_path: Path) -> None:
    make_run(tmp_path, "20261101-000000-ffff-9")
    (tmp_path / "latest").mkdir()
    (tmp_path / "latest" / "mine").touch()
    link_latest(tmp_path)
    assert (tmp_path / "latest" / "mine").exists()
    assert not list(tmp_path.glob(".latest*"))
