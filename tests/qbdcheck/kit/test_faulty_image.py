"""A qcow2 image whose requests fail: reported errors, silent ones, sweeps, corruption."""

from __future__ import annotations

from errno import EIO

import pytest

from qbdcheck.kit.blkdebug import error
from qbdcheck.kit.faulty_image import NOT_OPENED, SILENT, FaultyImage
from qbdcheck.programs.blockdev import json_filename, over
from qbdcheck.targets.disk_io import DiskIo
from tests.qbdcheck.targets.conftest import Opener


@pytest.fixture
def image(open_target: Opener) -> FaultyImage:
    session = open_target("reference")
    disk = session.new_disk("1M", prefill=False, format="qcow2")
    return FaultyImage(disk, session.qemu_io, session.qemu_img)


def write(io: DiskIo) -> None:
    io.write(1000, 5000)
    io.flush()


def test_the_errno_is_returned(image: FaultyImage) -> None:
    assert image.strike(error("cluster_alloc", iotype="write", once=True), write) == EIO
    assert image.strike(error("flush_to_disk", iotype="flush", once=True), write) == SILENT
    assert image.strike(error("reftable_load"), write) == NOT_OPENED
    assert image.strike({}, write) == 0
    image.disk.verify()


def test_an_event_that_does_not_fire_is_reported(image: FaultyImage) -> None:
    with pytest.raises(AssertionError, match="cow_read: no request failed"):
        image.strike_events("cluster_alloc cow_read", write)


def test_a_sweep_ends_with_the_first_clean_run(image: FaultyImage) -> None:
    at = iter(range(0, 1 << 20, 64 << 10))

    def write_elsewhere(io: DiskIo) -> None:
        where = next(at)
        for number in range(3):
            io.write(where + number * 10_000, 512)

    seen = list(image.sweep("write_aio", write_elsewhere, iotype="write", once=True))
    assert seen == [EIO] * 3


def test_leaks_are_freed_and_corruption_is_an_error(
    image: FaultyImage, open_target: Opener
) -> None:
    assert image.strike({}, write) == 0
    assert image.check() == 0
    session = open_target("reference")
    table = 3 * 65536  # the L2 table of a small new image; its first entry gets a wrong place
    volume = json_filename(over("raw", image.disk.protocol_blockdev()))
    with session.qemu_io(volume) as io:
        io.write(table + 5, 1, pattern=0x01)
    with pytest.raises(AssertionError, match="qemu-img check"):
        image.check()
