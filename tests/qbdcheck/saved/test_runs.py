"""Saved runs are found by each of their names, and what cannot be read is one line."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from qbdcheck.errors import UsageError
from qbdcheck.report.json_report import report_text
from qbdcheck.saved.runs import SavedRun, load, load_all

Made = Callable[..., SavedRun]
IDS = ("20261101-000000-0001-1", "20261102-000000-0002-2", "20261103-000000-0003-3")


@pytest.fixture
def root(tmp_path: Path, saved: Made) -> Path:
    for run_id in IDS:
        directory = tmp_path / "results" / run_id
        directory.mkdir(parents=True)
        (directory / "report.json").write_text(report_text(saved((1,), run_id=run_id).tally))
    return tmp_path / "results"


def test_a_run_has_many_names(root: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.zip"
    with zipfile.ZipFile(bundle, "w") as made:
        made.write(root / IDS[0] / "report.json", "run/report.json")
        made.writestr("run/old/report.json", "{}")
    for name, expected in {
        "latest": IDS[2], "latest~0": IDS[2], "latest~2": IDS[0], IDS[1]: IDS[1],
        "20261102": IDS[1], str(root / IDS[1]): IDS[1],
        str(root / IDS[1] / "report.json"): IDS[1], str(bundle): IDS[0],
    }.items():  # fmt: skip
        assert load(name, root).run_id == expected, name
    assert [run.run_id for run in load_all(root, 2)] == [*IDS[1:]]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("latest~3", "has 3 runs"),
        ("2026", "3 runs begin with this; write more of the id"),
        ("nosuch", "no run with this id in .* and no such file"),
        ("/nosuch/file", "/nosuch/file: No such file or directory"),
        ("{tmp}/empty.zip", "is a zip file without report.json"),
        ("{tmp}/text", "text: is not JSON"),
        ("{tmp}/other", "is not a report of --json"),
        ("{tmp}/bytes", "bytes: is not UTF-8 text"),
    ],
)
def test_a_wrong_name_is_one_line(root: Path, tmp_path: Path, name: str, message: str) -> None:
    zipfile.ZipFile(tmp_path / "empty.zip", "w").close()
    (tmp_path / "text").write_text("hello")
    (tmp_path / "other").write_text("{}")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=message) as caught:
        load(name.format(tmp=tmp_path), root)
    assert "\n" not in str(caught.value)


def test_an_unreadable_run_is_left_out_of_the_list(root: Path) -> None:
    (root / IDS[1] / "report.json").write_text("{")
    os.utime(root / IDS[1] / "report.json")
    assert [run.run_id for run in load_all(root, 9)] == [IDS[0], IDS[2]]
