"""The speed of the machine, from files of procfs: clock, slowdown, evidence."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import pytest

from qbdcheck import machine_speed
from qbdcheck.machine_speed import Limit, Machine, Snapshot
from tests.proc_files import write_proc

BUSY = Snapshot(at_s=100.0, cpu_us=0, memory_us=0, io_us=0, runnable=10)


def loaded(machine: Machine, first: Snapshot, **changed: object) -> machine_speed.Load:
    """Return the load between `first` and a snapshot 10 s later with other counters."""
    last = dataclasses.replace(first, at_s=first.at_s + 10, **changed)  # type: ignore[arg-type]
    return machine._between(first, last)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(write_proc(tmp_path / "proc"), tmp_path / "cgroups", cores=2)


def test_an_idle_machine_has_its_full_speed(machine: Machine) -> None:
    load = loaded(machine, machine.snapshot())
    assert (load.slowdown, load.is_starved) == (1.0, False)
    assert (load.cpu, load.memory, load.io, load.runnable) == (0.0, 0.0, 0.0, 0.0)


def test_ten_tasks_on_two_cores_that_always_wait_make_programs_five_times_slower(
    machine: Machine,
) -> None:
    load = loaded(machine, BUSY, cpu_us=10_000_000)
    assert (load.slowdown, load.is_starved) == (5.0, True)
    assert load.sentence == (
        "a task waited for a CPU in 100% of 10.0 s (10 runnable tasks on 2 cores; "
        "programs ran 5.0 times slower than on the idle machine)"
    )


def test_a_short_wait_or_few_tasks_do_not_starve_a_machine(machine: Machine) -> None:
    assert not loaded(machine, BUSY, cpu_us=1_000_000).is_starved
    few = dataclasses.replace(BUSY, runnable=2)
    assert loaded(machine, few, cpu_us=10_000_000).slowdown == 1.0


def test_a_hundred_tasks_slow_limits_down_by_ten_at_most(machine: Machine) -> None:
    crowd = dataclasses.replace(BUSY, runnable=100)
    assert loaded(machine, crowd, cpu_us=10_000_000).slowdown == machine_speed.MOST_SLOWDOWN


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"memory_us": 6_000_000}, "a task waited for memory in 60% of 10.0 s"),
        ({"jiffies": 1000, "stolen": 600}, "the hypervisor took 60% of the CPU time"),
        ({"throttled_us": 6_000_000}, "the CPU quota was used up in 60% of the time"),
        ({"io_us": 9_000_000, "paged_kib": 500_000}, "a task waited for a disk in 90% of 10.0 s"),
    ],
)
def test_each_way_to_be_starved_is_seen_and_said(
    machine: Machine, changed: dict[str, int], says: str
) -> None:
    load = loaded(machine, dataclasses.replace(BUSY, runnable=1), **changed)
    assert load.is_starved
    assert says in load.sentence


def test_a_disk_that_transfers_nothing_hangs_and_is_not_busy(machine: Machine) -> None:
    assert not loaded(machine, dataclasses.replace(BUSY, runnable=0), io_us=9_000_000).is_starved


def test_all_counters_are_read_from_the_files(tmp_path: Path) -> None:
    waiting = {"cpu": 1, "memory": 2, "io": 3}
    proc = write_proc(
        tmp_path / "proc", waiting_us=waiting, runnable=4, jiffies=5, stolen=6, paged_kib=7
    )
    (proc / "self" / "schedstat").write_text("1000 8 3\n")
    (proc / "self" / "cgroup").write_text("0::/mine/now\n")
    (tmp_path / "cgroups" / "mine" / "now").mkdir(parents=True)
    (tmp_path / "cgroups" / "mine" / "now" / "cpu.stat").write_text(
        "usage_usec 1\nthrottled_usec 9\n"
    )
    seen = Machine(proc, tmp_path / "cgroups", cores=2).snapshot()
    expected = Snapshot(seen.at_s, 1, 2, 3, 11, 6, 3, 9, 7, 8, None)
    assert seen == expected


def test_without_psi_a_unit_of_work_shows_the_speed(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "nothing", tmp_path / "nothing", cores=2)
    seen = machine.snapshot()
    assert seen.cpu_us is None and seen.unit is not None and seen.unit >= 1
    first = dataclasses.replace(seen, unit=4.0)
    load = loaded(machine, first)
    assert (load.slowdown, load.is_starved) == (4.0, True)
    assert "4.0 times slower" in load.sentence


def test_the_clock_runs_as_slowly_as_the_machine_and_never_backwards(tmp_path: Path) -> None:
    proc = tmp_path / "proc"
    start_s = time.monotonic()
    write_proc(proc, runnable=11)
    machine = Machine(proc, tmp_path, cores=2)
    seen = [machine.work_s()]
    while (elapsed_s := time.monotonic() - start_s) < 1.5:
        write_proc(proc, waiting_us={"cpu": int(elapsed_s * 1e6)}, runnable=11)
        seen.append(machine.work_s())
        time.sleep(0.02)
    assert seen == sorted(seen)
    # 0.3 s are exact; the first quarter of a second counts in full until it is measured.
    assert 0.2 < seen[-1] - seen[0] < 0.7


def test_the_clock_of_an_idle_machine_is_that_of_the_kernel(machine: Machine) -> None:
    first, start_s = machine.work_s(), time.monotonic()
    for _ in range(6):
        time.sleep(0.1)
        machine.work_s()
    assert machine.work_s() - first == pytest.approx(time.monotonic() - start_s, abs=0.1)


def test_a_limit_is_over_after_its_seconds_and_single_waits_are_short(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_speed, "THIS", machine)
    assert Limit(100).left_s() == machine_speed.WAIT_S
    limit = Limit(0.3)
    assert 0 < limit.left_s() <= 0.3
    time.sleep(0.35)
    assert limit.left_s() == 0
    assert limit.is_over


def test_a_time_out_of_the_command_line_extends_limits_in_proportion(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine_speed._Patience, "factor", 1.0)
    machine_speed.be_patient(300)
    assert Limit(30).seconds == 150
    machine_speed.be_patient(5)
    assert Limit(30).seconds == 30
    machine_speed.be_patient(None)
    assert Limit(30).seconds == 30
