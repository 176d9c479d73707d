"""The probed sizes of volumes, on the reference and on a target that rounds sizes."""

from __future__ import annotations

from typing import Any

import pytest

from qbdcheck.errors import NotRun, SetupError
from qbdcheck.kit import volume_limits
from qbdcheck.kit.nbd_io import minimum_block
from qbdcheck.kit.volume_limits import (
    exact_size,
    first_possible,
    size_unit,
)
from qbdcheck.targets.disk import Disk
from qbdcheck.targets.session import TargetSession
from tests.qbdcheck.targets.conftest import Opener


@pytest.fixture
def target(open_target: Opener) -> TargetSession:
    return open_target("reference")


def round_sizes(
    target: TargetSession, monkeypatch: pytest.MonkeyPatch, unit: int, most: int = 1 << 40
) -> None:
    """Let the target make volumes of whole units only, and none above ``most`` bytes."""
    make = target.new_disk

    def rounded(size: int, **options: Any) -> Disk:
        if size > most:
            raise SetupError("too large")
        disk = make(-(-size // unit) * unit, **options)
        disk.shadow.resize(size)
        return disk

    monkeypatch.setattr(target, "new_disk", rounded)


def test_the_reference_makes_whole_sectors(target: TargetSession) -> None:
    assert size_unit(target) == 512
    disk = target.new_disk("1M", prefill=False)
    assert minimum_block(disk) == 1
    assert exact_size(target, disk) == 1 << 20


@pytest.mark.parametrize("unit", [4096, 65536, 4 << 20])
def test_the_unit_of_a_target_that_rounds_is_found(
    target: TargetSession, monkeypatch: pytest.MonkeyPatch, unit: int
) -> None:
    round_sizes(target, monkeypatch, unit)
    assert size_unit(target) == unit


def test_the_unit_of_a_target_that_the_probe_knows_is_found(
    target: TargetSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volume_limits, "step_of", lambda description: 3 << 20)
    round_sizes(target, monkeypatch, 3 << 20)
    assert size_unit(target) == 3 << 20


def test_without_exact_sizes_a_case_is_not_run(
    target: TargetSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    round_sizes(target, monkeypatch, 64 << 20)
    with pytest.raises(NotRun, match="no volume of 20971520 bytes exactly"):
        size_unit(target)


def test_a_volume_that_is_too_small_is_a_failure(
    target: TargetSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = target.new_disk

    def shortened(size: int, **options: Any) -> Disk:
        disk = make(size - 512, **options)
        disk.shadow.resize(size)
        return disk

    monkeypatch.setattr(target, "new_disk", shortened)
    message = "a new volume of 4096 bytes: expected that size or one rounded up, got 3584"
    with pytest.raises(AssertionError, match=message):
        first_possible(target, (4096, 512), lambda *_: None)
    with pytest.raises(AssertionError, match="expected that size or one rounded up"):
        size_unit(target)


def test_a_server_that_reports_more_than_an_offset_can_be_is_a_failure(
    target: TargetSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volume_limits, "exact_size", lambda *_: 1 << 63)
    with pytest.raises(AssertionError, match=r"reports 9223372036854775808, above 2\^63-1"):
        first_possible(target, ((1 << 63) - 1, 512), lambda *_: None)


def test_the_first_size_that_can_be_made_is_used(
    target: TargetSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    round_sizes(target, monkeypatch, 4096, most=1 << 30)
    logged: list[str] = []
    assert first_possible(target, (1 << 40, 1000, 8192, 4096), logged.append).size == 8192
    assert len(logged) == 2
    assert "1099511627776 bytes: too large" in logged[0]
    assert "1000 bytes, got 4096" in logged[1]
    with pytest.raises(SetupError, match="too large"):
        first_possible(target, (1 << 41,), logged.append)
    with pytest.raises(NotRun, match="the target rounds sizes: requested a volume of 1000 bytes"):
        first_possible(target, (1000,), logged.append)


SLOW = """name: slow
about: a test
volume:
  create: "sh -c 'test {{size}} -le {fast} || sleep {sleep}; truncate -s {{size}} {{dir}}/v'"
blockdev: {{driver: file, filename: "{{dir}}/v"}}
path: "{{dir}}/v"
"""


def test_a_size_whose_volume_takes_minutes_is_not_used(
    open_target: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A qcow2 image with a raw data file is so: qemu-img writes its tables, 12 GiB for 100 TiB."""
    monkeypatch.setattr(volume_limits, "LONG_S", 0.5)
    target = open_target(SLOW.format(fast=16 << 20, sleep=60))
    logged: list[str] = []
    sizes = (1 << 46, 1 << 44, 8192, 4096)
    assert first_possible(target, sizes, logged.append).size == 8192
    assert [str(size) in line for size, line in zip(sizes, logged, strict=False)] == [True] * 2
    assert "did not end within 0.5 s" in logged[0]


def test_a_target_that_takes_long_for_each_volume_gets_more_time(
    open_target: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volume_limits, "LONG_S", 0.3)
    target = open_target(SLOW.format(fast=0, sleep=0.6))
    logged: list[str] = []
    assert first_possible(target, (1 << 40, 1 << 30), logged.append).size == 1 << 40
    assert not logged


def test_the_last_size_has_all_the_time_of_a_command(
    open_target: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A small volume takes up to a second on a loaded machine: four times that is not above 4 s.
    monkeypatch.setattr(volume_limits, "LONG_S", 0.2)
    target = open_target(SLOW.format(fast=16 << 20, sleep=4))
    assert first_possible(target, (1 << 40, 1 << 30), lambda *_: None).size == 1 << 30
