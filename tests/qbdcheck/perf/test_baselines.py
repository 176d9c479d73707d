"""Baselines survive a file, belong to one machine, and a broken file is one clear line."""

from __future__ import annotations

from pathlib import Path

import pytest

from qbdcheck.errors import UsageError
from qbdcheck.perf import baselines
from qbdcheck.perf.sample import IOPS
from tests.qbdcheck.perf.samples import SHAPES, measured

HERE, THERE = {"machine": "one", "cores": "2"}, {"machine": "other", "cores": "2"}


def test_a_baseline_is_found_on_its_machine_only(tmp_path: Path) -> None:
    file = tmp_path / "b.json"
    known = baselines.read(file)
    first = measured({"t": 1.0}, 1)
    baselines.add(known, HERE, "t", first.samples["t"])
    baselines.add_growth(known, HERE, "t", {"volume, read": 0.01})
    baselines.write(file, known)
    again = baselines.read(file)
    found = baselines.find(again, HERE, "t")
    assert found is not None
    assert found.values("t", SHAPES[0], IOPS) == first.values("t", SHAPES[0], IOPS)
    assert baselines.find(again, THERE, "t") is None and baselines.find(again, HERE, "u") is None
    assert baselines.growth_of(again, HERE, "t") == {"volume, read": 0.01}
    assert baselines.growth_of(again, THERE, "t") is None


def test_shapes_that_were_not_measured_stay() -> None:
    known = baselines.Baselines()
    baselines.add(known, HERE, "t", measured({"t": 1.0}, 1).samples["t"])
    fresh = measured({"t": 2.0}, 2, scatter=0.0, shapes=SHAPES[:1])
    baselines.add(known, HERE, "t", fresh.samples["t"])
    found = baselines.find(known, HERE, "t")
    assert found is not None and set(found.shapes) == set(SHAPES)
    assert found.values("t", SHAPES[0], IOPS)[0] == pytest.approx(5000)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a file of ./check perf"),
        ('{"machines": {"x": {}}}', "machines.x.facts: Field required"),
        ('{"version": 9}', "version 9; this is version 1"),
        ("001 fails\n", "take another file"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "b.json"
    file.write_text(text)
    with pytest.raises(UsageError, match=message):
        baselines.read(file)


def test_the_fingerprint_depends_on_each_fact() -> None:
    facts = baselines.machine()
    assert {"cores", "kernel", "fio", "qemu-img"} <= facts.keys()
    for name in facts:
        changed = {**facts, name: "other"}
        assert baselines.fingerprint(changed) != baselines.fingerprint(facts)
