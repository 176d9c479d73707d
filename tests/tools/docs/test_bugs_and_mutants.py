"""The record of kill matrices, from which docs/bugs-and-mutants.md is written."""

from pathlib import Path
from typing import Any

from tools.docs.bugs_and_mutants import added, read_record, write_record


def fate(one: str, case: str = "", **further: Any) -> dict[str, Any]:
    return {
        "id": one,
        "control": False,
        "killed": bool(case),
        "state": "killed" if case else "alive",
        "case": case,
        "diagnosis": "offset 0: zeroed | json:{'a': {'b': 1}}\nmore",
        "named": True,
        "seconds": 1.5,
        "requests": 7,
        "suites": {"iotests": {}},
        **further,
    }


def test_new_fates_replace_old_ones_and_unknown_mutants_are_left_out() -> None:
    old = added({}, [fate("torn-write"), fate("gone", "001_x"), fate("flush-noop", "002_y")],
                ("torn-write", "gone", "flush-noop"))  # fmt: skip
    new = added(old, [fate("torn-write", "003_z")], ("torn-write", "flush-noop"))
    assert {one: found["case"] for one, found in new.items()} == {
        "torn-write": "003_z",
        "flush-noop": "002_y",
    }
    assert "suites" not in new["torn-write"]
    assert new["torn-write"]["diagnosis"] == "offset 0: zeroed / json:{...}"


def test_the_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    assert read_record(file) == {"quick": {}, "rest": {}, "rare": {}}
    record = {
        "quick": added({}, [fate("torn-write")], ("torn-write",)),
        "rest": added({}, [fate("torn-write", "1001_x")], ("torn-write",)),
        "rare": added({}, [fate("torn-write", knobs_left_out="rate=1000")], ("torn-write",)),
    }
    write_record(file, record)
    assert read_record(file) == record
    assert len(file.read_text().splitlines()) == 11
