"""The state machine on the reference's volume in process: right, and with planted bugs."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from blockio.extents import Extent
from mutants.catalogue import catalogue
from mutants.controls import Control
from mutants.mutant import Mutant
from oracles.model import StepFailed, Wrong
from oracles.scripts import Script, Step
from oracles.stamps import Data
from qbdcheck.errors import NotRun, SetupError
from qbdcheck.kit.model.exhaustive import try_all
from qbdcheck.kit.model.machine import search
from qbdcheck.kit.model.players import InProcess
from qbdcheck.kit.model.replay import keep, play, played_first

SEEN = ["flush-noop", "fua-write-ack-early", "zero-unmap-not-durable", "write-zeroes-noop",
        *(pytest.param(name, marks=pytest.mark.nightly)
          for name in ("fua-lost-on-trim", "discard-overreach"))]  # fmt: skip


def test_the_reference_is_right() -> None:
    found = search(InProcess(), seed=1, scripts=150)
    assert found.best is None
    assert found.scripts >= 150
    assert found.steps > 1500


@pytest.mark.parametrize("mutant", SEEN)
def test_a_planted_bug_is_found_and_shrunk(mutant: str) -> None:
    found = search(InProcess(catalogue()[mutant]), seed=1, scripts=300)
    assert found.best is not None
    script, text = found.best
    assert len(script.steps) <= 6, script
    with pytest.raises(Wrong):
        play(script, InProcess(catalogue()[mutant]))
    play(script, InProcess())
    assert text.findings


@pytest.mark.nightly
def test_a_snapshot_that_follows_its_volume_is_found_and_shrunk() -> None:
    class FollowsVolume(InProcess):
        def read_snapshot(self, number: int) -> Data | None:
            saved = super().read_snapshot(number)
            assert saved is not None
            return self._volume.read(0, min(len(saved), self._volume.size))

    found = search(FollowsVolume(), seed=1, scripts=150)
    assert found.best is not None
    script, text = found.best
    assert len(script.steps) == 2, script
    assert script.steps[0] == Step("snapshot")
    assert "snapshot 1" in str(text)
    play(script, InProcess())


@pytest.mark.nightly
def test_controls_are_not_accused() -> None:
    # The model has no waivers: it plays no part where a target waives a policy.
    for mutant in catalogue().values():
        patches = mutant.install is not Mutant.install  # of the server, which is not here
        if issubclass(mutant, Control) and not (mutant.waits or patches or mutant.waives):
            assert search(InProcess(mutant), seed=2, scripts=40).best is None, mutant.id


def test_the_same_seed_plays_the_same_scripts() -> None:
    class Notes(InProcess):
        def __init__(self) -> None:
            super().__init__()
            self.steps: list[Step] = []

        def do(self, step: Step, data: bytes) -> Data | Sequence[Extent] | None:
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


def test_an_unsupported_step_is_reported() -> None:
    with pytest.raises(NotRun, match="cannot kill"):
        play(Script(4096, (Step("kill"),)), InProcess())


def test_a_fault_must_occur_exactly_where_it_is_armed() -> None:
    fault = Step("fault", kind="write", errno="ENOSPC")
    fails = (fault, Step("write", 0, 512), Step("read", 0, 512))
    play(Script(4096, fails), InProcess())

    class Swallows(InProcess):
        def do(self, step: Step, data: bytes) -> Data | Sequence[Extent] | None:
            return None if step.do == "fault" else super().do(step, data)

    with pytest.raises(Wrong, match=r"step 2: write 0\+512: success, and the error ENOSPC"):
        play(Script(4096, fails), Swallows())


class DiesLater(InProcess):
    """A server with a bug, which dies after the first failure."""

    failures = 0

    def reset(self, size: int, data: bytes) -> None:
        if self.failures:
            raise SetupError("the server is gone")
        super().reset(size, data)

    def do(self, step: Step, data: bytes) -> Data | Sequence[Extent] | None:
        if step.do == "discard":
            self.failures += 1
            raise StepFailed(5, "the server died")
        return super().do(step, data)


def test_a_finding_is_kept_when_the_server_dies_while_its_script_is_shrunk() -> None:
    found = search(DiesLater(), seed=1, scripts=100)
    assert found.best is not None
    assert "the server died" in str(found.best[1])


def test_a_server_that_dies_before_any_finding_is_an_error() -> None:
    player = DiesLater()
    player.failures = 1
    with pytest.raises(SetupError, match="the server is gone"):
        search(player, seed=1, scripts=10)


@pytest.mark.parametrize("alignment", [512, 4096])
def test_scripts_keep_to_the_minimum_block(alignment: int) -> None:
    places: set[int] = set()

    class Aligned(InProcess):
        def do(self, step: Step, data: bytes) -> Data | Sequence[Extent] | None:
            places.update((step.offset, step.length, step.size))
            return super().do(step, data)

    player = Aligned()
    player.alignment = alignment
    assert search(player, seed=1, scripts=40).best is None
    assert try_all(player, 1, 1).wrong is None
    assert len(places) > 5
    assert not [place for place in places if place % alignment]
