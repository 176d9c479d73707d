"""The state machine on the reference's volume in process: right, and with seeded bugs."""

from pathlib import Path

import pytest

from mutants.catalogue import catalogue
from mutants.controls import Control
from oracles.model import Wrong
from oracles.scripts import Script, Step
from qbdcheck.errors import NotRun
from qbdcheck.kit.model.machine import search
from qbdcheck.kit.model.players import InProcess
from qbdcheck.kit.model.replay import keep, play, played_first

SEEN = ["flush-noop", "fua-write-ack-early", "fua-lost-on-trim", "zero-unmap-not-durable",
        "write-zeroes-noop", "discard-overreach"]  # fmt: skip


def test_the_reference_is_right() -> None:
    found = search(InProcess(), seed=1, scripts=150)
    assert found.best is None
    assert found.scripts >= 150
    assert found.steps > 1500


@pytest.mark.parametrize("mutant", SEEN)
def test_a_seeded_bug_is_found_and_shrunk(mutant: str) -> None:
    found = search(InProcess(catalogue()[mutant]), seed=1, scripts=300)
    assert found.best is not None
    script, text = found.best
    assert len(script.steps) <= 6, script
    with pytest.raises(Wrong):
        play(script, InProcess(catalogue()[mutant]))
    play(script, InProcess())
    assert text.findings


def test_a_snapshot_that_goes_along_is_found_and_shrunk() -> None:
    class GoesAlong(InProcess):
        def read_snapshot(self, number: int):  # type: ignore[no-untyped-def]
            saved = super().read_snapshot(number)
            return self._volume.read(0, min(len(saved), self._volume.size))

    found = search(GoesAlong(), seed=1, scripts=150)
    assert found.best is not None
    script, text = found.best
    assert len(script.steps) == 2, script
    assert script.steps[0] == Step("snapshot")
    assert "snapshot 1" in str(text)
    play(script, InProcess())


def test_controls_are_not_accused() -> None:
    for mutant in catalogue().values():
        patches = "install" in vars(mutant)  # of the server, which is not here
        if issubclass(mutant, Control) and not (mutant.waits or patches):
            assert search(InProcess(mutant), seed=2, scripts=40).best is None, mutant.id


def test_the_same_seed_plays_the_same_scripts() -> None:
    class Notes(InProcess):
        def __init__(self) -> None:
            super().__init__()
            self.steps: list[Step] = []

        def do(self, step: Step, data: bytes):  # type: ignore[no-untyped-def]
            self.steps.append(step)
            return super().do(step, data)

    one, two, other = Notes(), Notes(), Notes()
    for player, seed in ((one, 5), (two, 5), (other, 6)):
        search(player, seed, 20)
    assert one.steps == two.steps
    assert one.steps != other.steps


def test_a_failure_is_saved_and_played_first(tmp_path: Path) -> None:
    bug = catalogue()["flush-noop"]
    steps = (Step("write", 0, 512), Step("flush"), Step("power-cut", seed=1))
    saved = tmp_path / "saved"
    keep(Script(4096, steps), "wrong\nmore", tmp_path, saved)
    assert {path.name for path in (tmp_path / "repro").iterdir()} == {
        "script.yaml", "script.sh", "script.nbdsh.py"
    }  # fmt: skip
    [(script, text)] = played_first(saved, InProcess(bug), 0)
    assert script.steps == steps
    assert str(text).startswith("at the end: read 0+4096:")
    assert script.about == "wrong"
    assert played_first(saved, InProcess(), 0) == []
    assert list(saved.iterdir()) == []


def test_a_step_that_cannot_be_done_is_said() -> None:
    with pytest.raises(NotRun, match="cannot kill"):
        play(Script(4096, (Step("kill"),)), InProcess())


def test_a_fault_must_come_and_only_where_it_is_armed() -> None:
    fault = Step("fault", kind="write", errno="ENOSPC")
    fails = (fault, Step("write", 0, 512), Step("read", 0, 512))
    play(Script(4096, fails), InProcess())

    class Swallows(InProcess):
        def do(self, step: Step, data: bytes):  # type: ignore[no-untyped-def]
            return None if step.do == "fault" else super().do(step, data)

    with pytest.raises(Wrong, match=r"step 2: write 0\+512: success, and the error ENOSPC"):
        play(Script(4096, fails), Swallows())
