"""The ATA disk that a case drives itself: data, errors, stops."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from qbdcheck.errors import ProgramError
from qbdcheck.kit.ata_disk import DRQ, SECTOR, AtaDisk, DeviceError, ata_machine
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.programs.blockdev import file_node
from qbdcheck.programs.installed import Programs
from qbdcheck.programs.machine import Machine

DATA = bytes(range(256)) * 2


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., Machine]:
    return lambda *argv: Machine(Programs(), tmp_path, arguments=argv)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    path.write_bytes(bytes(64 << 10))
    return path


def test_sectors_are_written_and_read(start: Callable[..., Machine], image: Path) -> None:
    node = file_node(image, "disk")
    with ata_machine(start, image.parent, node) as (_, ata):
        ata.write(3, DATA)
        ata.flush()
        assert ata.read(3) == DATA
        assert ata.read(4) == bytes(SECTOR)
    assert image.read_bytes()[3 * SECTOR : 4 * SECTOR] == DATA


def test_an_error_shows_in_the_registers(start: Callable[..., Machine], image: Path) -> None:
    node = blkdebug(file_node(image), error(iotype="read", sector=9, once=True), node_name="disk")
    with ata_machine(start, image.parent, node, rerror="report") as (_, ata):
        with pytest.raises(DeviceError) as failed:
            ata.read(9)
        assert not failed.value.status & DRQ
        assert ata.read(9) == bytes(SECTOR)


def test_a_stopped_machine_leaves_the_command_waiting(
    start: Callable[..., Machine], image: Path
) -> None:
    rule = error(number=errno.ENOSPC, iotype="write", sector=1, once=True)
    node = blkdebug(file_node(image), rule, node_name="disk")
    with ata_machine(start, image.parent, node, werror="stop") as (vm, ata):
        ata.start_write(1, DATA)
        vm.wait_event("STOP")
        assert ata.is_waiting
        vm.qmp("cont")
        ata.wait()
        assert ata.read(1) == DATA


def test_a_command_that_never_ends_is_reported(start: Callable[..., Machine], image: Path) -> None:
    rule = error(iotype="write", sector=1)
    node = blkdebug(file_node(image), rule, node_name="disk")
    ata = AtaDisk(image.parent, timeout_s=0.2)
    with start(*ata.arguments(node, werror="stop")) as vm:
        ata.connect()
        vm.qmp("cont")
        ata.start_write(1, DATA)
        with pytest.raises(ProgramError, match="no interrupt"):
            ata.wait()
        ata.close()
