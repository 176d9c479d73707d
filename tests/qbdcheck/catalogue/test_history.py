"""The records that are kept between runs; damage to them is not an error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qbdcheck.catalogue.history import (
    Elapsed,
    RunRecord,
    append_history,
    check_home,
    default_cache_dir,
    last_run,
)
from qbdcheck.errors import UsageError
from qbdcheck.verdict import Verdict


def test_durations_are_stored_per_target_and_format(tmp_path: Path) -> None:
    one = Elapsed.load(tmp_path, "file", "raw")
    one.record("001_a", Verdict.PASS, 1.25)
    one.save()
    assert Elapsed.load(tmp_path, "file", "raw").seconds == {"001_a": 1.25}
    assert Elapsed.load(tmp_path, "file", "raw").verdicts == {"001_a": "pass"}
    assert Elapsed.load(tmp_path, "file", "qcow2").seconds == {}


def test_a_target_given_as_a_path_has_its_own_record(tmp_path: Path) -> None:
    one = Elapsed.load(tmp_path, "/srv/my targets/x.yaml", "raw")
    one.record("001_a", Verdict.PASS, 1)
    one.save()
    assert one.path.parent == tmp_path / "elapsed"
    assert one.path.exists()


def test_a_failure_does_not_change_the_known_duration(tmp_path: Path) -> None:
    one = Elapsed.load(tmp_path, "file", "raw")
    one.record("001_a", Verdict.PASS, 2.0)
    one.record("001_a", Verdict.FAIL, 60.0)
    assert (one.seconds["001_a"], one.verdicts["001_a"]) == (2.0, "fail")


def test_parallel_runs_keep_each_others_results(tmp_path: Path) -> None:
    one, other = (Elapsed.load(tmp_path, "file", "raw") for _ in range(2))
    one.record("001_a", Verdict.PASS, 1)
    other.record("002_b", Verdict.PASS, 2)
    one.save()
    other.save()
    assert Elapsed.load(tmp_path, "file", "raw").seconds == {"001_a": 1, "002_b": 2}


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"\xff\xfe", b'{"001_a": 3}', b'{"001_a": {"elapsed_s": "x"}}',
        b'{"001_a": {"elapsed_s": -1}}',
    ],
)  # fmt: skip
def test_a_damaged_record_counts_as_empty(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "elapsed" / "file-raw.json"
    path.parent.mkdir()
    path.write_bytes(content)
    one = Elapsed.load(tmp_path, "file", "raw")
    assert one.seconds == {}
    one.record("001_a", Verdict.PASS, 1)
    one.save()
    assert json.loads(path.read_text())["001_a"]["elapsed_s"] == 1


def test_an_unwritable_cache_is_not_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = tmp_path / "file" / "cache"
    one = Elapsed.load(cache, "file", "raw")
    one.record("001_a", Verdict.PASS, 1)
    one.save()
    append_history(cache, {"a": 1})
    record = RunRecord(cache, {})
    record.done("001_a", "raw")
    record.close()
    assert last_run(cache) is None


def test_the_unfinished_cases_of_a_killed_run_are_known(tmp_path: Path) -> None:
    planned = [["001_a", "raw"], ["002_b", "raw"], ["002_b", "qcow2"]]
    header = {"target": "file", "formats": ["raw", "qcow2"], "seed": 5, "planned": planned}
    record = RunRecord(tmp_path, header)
    record.done("002_b", "raw")
    last = last_run(tmp_path)
    assert last is not None
    assert last.left == [("001_a", "raw"), ("002_b", "qcow2")]
    assert (last.target, last.formats, last.seed) == ("file", ("raw", "qcow2"), 5)
    with (tmp_path / "last-run.jsonl").open("a") as file:
        file.write('{"done": ["001')  # the runner died while it wrote
    again = last_run(tmp_path)
    assert again is not None
    assert again.left == last.left


def test_history_gets_one_line_a_run(tmp_path: Path) -> None:
    append_history(tmp_path, {"run": 1})
    append_history(tmp_path, {"run": 2})
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["run"] for line in lines] == [1, 2]


def test_a_later_run_does_not_mix_with_the_record_of_an_earlier_one(tmp_path: Path) -> None:
    header = {"target": "file", "formats": ["raw"], "seed": 1, "planned": [["001_a", "raw"]]}
    first = RunRecord(tmp_path, header)
    second = RunRecord(tmp_path, {**header, "seed": 2})
    first.done("001_a", "raw")
    last = last_run(tmp_path)
    assert last is not None
    assert (last.seed, last.left) == (2, [("001_a", "raw")])
    first.close()
    second.close()


def test_a_save_does_not_undo_what_another_run_saved(tmp_path: Path) -> None:
    before = Elapsed.load(tmp_path, "file", "raw")
    before.record("001_a", Verdict.PASS, 1)
    before.save()
    one, other = (Elapsed.load(tmp_path, "file", "raw") for _ in range(2))
    other.record("001_a", Verdict.PASS, 7)
    other.save()
    one.record("002_b", Verdict.PASS, 2)
    one.save()
    assert Elapsed.load(tmp_path, "file", "raw").seconds == {"001_a": 7, "002_b": 2}


def test_home_is_required_only_without_a_cache_directory() -> None:
    check_home({"XDG_CACHE_HOME": "/x", "HOME": "/no/such"})
    check_home({"HOME": "/"})
    with pytest.raises(UsageError, match="HOME=/no/such is not a directory"):
        check_home({"HOME": "/no/such"})
    assert default_cache_dir({"HOME": "/h"}) == Path("/h/.cache/qbdcheck")
    assert default_cache_dir({"XDG_CACHE_HOME": "/x"}) == Path("/x/qbdcheck")
