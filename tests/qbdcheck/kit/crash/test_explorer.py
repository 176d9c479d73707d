"""The explorer on right applications, and on ones with a planted bug."""

import subprocess
from pathlib import Path

import pytest

from oracles.crash_states.families import Bounds
from oracles.crash_states.states import CrashStates
from oracles.damage import Damage
from oracles.finding import Findings, reported
from qbdcheck.kit.crash.explorer import Exploration, Explorer
from qbdcheck.kit.crash.recorder import Recorder, without_flushes
from qbdcheck.kit.crash.wal_store import SIZE, WalHistory, WalStore, recover, run_workload


def explore_store(
    directory: Path, jobs: int = 1, lies: bool = False, commits: int = 40, **store: bool
) -> Exploration:
    disk = Recorder(SIZE)
    history = WalHistory()
    store_ = WalStore(disk, **store)
    run_workload(store_, history, lambda: disk.position, commits)
    log = without_flushes(disk.log) if lies else disk.log
    states = CrashStates(log, memoryview(bytearray(SIZE)), history.acknowledged)
    bounds = Bounds(subsets=6, chance=32)
    return Explorer(
        states, disk.image, len(log), lambda _: history, directory, bounds, jobs=jobs
    ).run()


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_store_that_is_right_survives_all_crashes(tmp_path: Path, jobs: int) -> None:
    result = explore_store(tmp_path, jobs)
    result.must_be_clean()
    assert result.explored == result.distinct > 300
    assert result.total > result.distinct


@pytest.mark.parametrize(
    ("plant", "message"),
    [
        ({"flushes": False}, "acknowledged and are lost"),
        ({"ordered": False}, "another value|damaged"),
        ({"lies": True}, "acknowledged and are lost"),
    ],
)
def test_a_planted_bug_is_found_and_named(
    tmp_path: Path, plant: dict[str, bool], message: str
) -> None:
    result = explore_store(tmp_path, **plant)
    with pytest.raises(AssertionError, match=message) as failure:
        result.must_be_clean()
    assert "crash state " in str(failure.value)
    assert "lost: " in str(failure.value)


def test_findings_do_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    one, two = (explore_store(tmp_path, jobs) for jobs in (1, 2))
    assert (one.distinct, one.explored) == (two.distinct, two.explored)
    wrong = [explore_store(tmp_path, jobs, ordered=False).wrong[0] for jobs in (1, 2)]
    assert wrong[0].text.split()[:2] == wrong[1].text.split()[:2]


def test_the_end_of_the_log_is_the_written_volume() -> None:
    disk = Recorder(SIZE)
    history = WalHistory()
    run_workload(WalStore(disk), history, lambda: disk.position, 50)
    sequence, _ = recover(disk.image)
    assert sequence == 50
    assert history.check(disk.image, None, len(disk.log)) == []


class Repairs:
    """Overwrites a part of the file, as a repair does, and appends to it."""

    changes_the_file = True

    def __init__(self, right: memoryview) -> None:
        self._right = right

    def check(self, image: memoryview, path: Path, limit: int) -> Findings:
        fresh = path.read_bytes()
        subprocess.run(["dd", "if=/dev/urandom", f"of={path}", "bs=70000", "count=1"],
                       check=True, stderr=subprocess.DEVNULL)  # fmt: skip
        with path.open("ab") as file:
            file.write(b"more")
        is_left_over = b"more" in fresh[-4:] or len(fresh) != len(image)
        return reported(Damage.FILE, "left over") if is_left_over else Findings()


def test_changes_of_a_program_to_the_file_are_undone(tmp_path: Path) -> None:
    disk = Recorder(SIZE)
    for number in range(6):
        disk.write(number * 512, bytes([number + 1]) * 512)
    states = CrashStates(disk.log, memoryview(bytearray(SIZE)))
    seen = []

    class Look(Repairs):
        def check(self, image: memoryview, path: Path, limit: int) -> Findings:
            seen.append(bytes(image))
            return super().check(image, path, limit)

    Explorer(
        states, disk.image, 6, lambda _: Look(disk.image), tmp_path, jobs=1
    ).run().must_be_clean()
    assert len(set(seen)) == len(seen) == 64
    assert all(set(image[:3072]) <= set(range(7)) for image in seen)


def test_an_exploration_of_no_state_fails() -> None:
    with pytest.raises(AssertionError, match="no crash state"):
        Exploration(0, 1, 1).must_be_clean()


class Dies:
    changes_the_file = False

    def check(self, image: memoryview, path: Path, limit: int) -> Findings:
        raise OSError("no program")


def test_an_exception_of_a_judge_is_raised(tmp_path: Path) -> None:
    states = CrashStates([], memoryview(bytearray(512)))
    for jobs in (1, 2):
        with pytest.raises(OSError, match="no program"):
            Explorer(
                states, memoryview(bytearray(512)), 0, lambda _: Dies(), tmp_path, jobs=jobs
            ).run()
