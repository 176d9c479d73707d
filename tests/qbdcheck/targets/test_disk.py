"""Disks: reads are compared with what was written, and each kind of error is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from oracles.life import KILLED
from oracles.shadow import Shadow
from oracles.stamps import Identity
from qbdcheck.errors import NotRun, SetupError
from qbdcheck.files import ROOT
from qbdcheck.programs.qemu_io import IoFailed
from qbdcheck.targets.disk import file_stem
from qbdcheck.targets.disk_io import WrongData, judge
from tests.qbdcheck.targets.conftest import Opener

SECTOR = 512


def test_fresh_disk_is_prefilled_and_verifies(open_target: Opener) -> None:
    disk = open_target("file").new_disk()
    assert disk.size == 8 << 20
    assert disk.volume_path.read_bytes().count(b"qbdstamp") >= (8 << 20) // SECTOR
    disk.verify()


@pytest.mark.parametrize("place", [0, 12345, (1 << 20) - 1])
def test_one_flipped_byte_is_found_and_named(open_target: Opener, place: int) -> None:
    disk = open_target("file").new_disk("1M")
    with disk.volume_path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))
    with pytest.raises(WrongData, match=f"sector {place // SECTOR}, .*bit flip"):
        disk.verify()
    with pytest.raises(WrongData):
        disk.verify(place, 1)


def test_lost_write_is_named(open_target: Opener) -> None:
    session = open_target("file")
    disk = session.new_disk("1M")
    old = disk.volume_path.read_bytes()
    with session.qemu_io(disk) as io:
        io.write(65536, 4096)
    disk.volume_path.write_bytes(old)
    with (
        pytest.raises(WrongData, match="never written: prefill still there"),
        session.qemu_io(disk) as io,
    ):
        io.read(65536, 4096)


def test_data_where_none_was_written_is_found_on_a_huge_disk(open_target: Opener) -> None:
    session = open_target("file")
    disk = session.new_disk("1T", prefill=False)
    with session.qemu_io(disk) as io:
        io.write(1 << 39, 4096)
    disk.verify()
    with disk.volume_path.open("r+b") as file:
        file.seek(77 << 30)
        file.write(b"stray")
    with pytest.raises(WrongData):
        disk.verify()


def test_failed_write_leaves_old_or_new(open_target: Opener) -> None:
    session = open_target("file")
    disk = session.new_disk("1M")
    rule = [{"event": "none", "iotype": "write", "errno": 5, "once": True}]
    options = {
        "file": {"driver": "blkdebug", "image": disk.protocol_blockdev(), "inject-error": rule}
    }
    with session.qemu_io(disk, options=options) as io:
        with pytest.raises(IoFailed) as caught:
            io.write(4096, 4096)
        assert caught.value.reason == "Input/output error"
        assert disk.shadow.ambiguous() == list(range(8, 16))
        io.read(0, 16384)
        assert disk.shadow.ambiguous() == []


def test_request_beyond_the_end_fails_and_changes_nothing(open_target: Opener) -> None:
    session = open_target("file")
    disk = session.new_disk("1M")
    with session.qemu_io(disk) as io, pytest.raises(IoFailed):
        io.write((1 << 20) - 512, 1024)
    disk.verify()


def test_shadow_follows_all_kinds_of_requests(open_target: Opener) -> None:
    session = open_target("reference")
    disk = session.new_disk("2M")
    with session.qemu_io(disk) as io:
        io.write(1, 1)
        io.write(511, 1026, fua=True)
        io.write(4096, 4096, pattern=0)
        io.write_zeroes(10000, 30000, unmap=True)
        io.discard(65536, 65536)
        io.aio_write(131072, 4096)
        io.aio_write(132096, 4096)
        io.aio_read(524288, 4096)
        assert [offset for offset, _ in io.drain()] == [524288]
        io.flush()
        io.read(0, 262144)
    disk.verify()
    disk.verify(700, 70000)


def test_crash_keeps_flushed_data_and_the_shadow_permits_the_rest_to_be_lost(
    open_target: Opener,
) -> None:
    session = open_target("reference")
    disk = session.new_disk("1M")
    data = disk.shadow.stamped(0, 65536)
    with session.nbd(disk) as client:
        client.write(0, data)
        disk.shadow.write(0, data)
        disk.backend.crash(seed=3)
    assert disk.shadow.ambiguous()
    disk.verify()


def test_resize_up_and_down(open_target: Opener) -> None:
    for target in ("reference", "qemu-nbd", "file"):
        disk = open_target(target).new_disk("1M", name=target)
        disk.resize(3 << 20)
        disk.verify()
        disk.resize(1 << 19)
        disk.verify()


@pytest.mark.parametrize("size", [0, 1, 511, 513, 1048577])
def test_odd_sizes(open_target: Opener, size: int) -> None:
    disk = open_target("reference").new_disk(size)
    disk.verify()


def test_read_only_disk_is_filled_first(open_target: Opener) -> None:
    session = open_target("qemu-nbd")
    disk = session.new_disk("1M", read_only=True)
    disk.verify()
    with (
        session.qemu_io(disk, read_only=True) as io,
        pytest.raises(Exception, match=r"read-only|permitted"),
    ):
        io.write(0, 512)


@pytest.mark.parametrize("image_format", ["qcow2", "vpc", "vdi", "parallels"])
def test_image_formats_on_a_volume(open_target: Opener, image_format: str) -> None:
    session = open_target("qemu-nbd", image_format)
    disk = session.new_disk("4M")
    assert disk.blockdev()["driver"] == image_format
    with session.qemu_io(disk) as io:
        io.write(0, 65536)
    disk.verify()
    assert session.qemu_img.json("info", disk.filename)["format"] == image_format


@pytest.mark.parametrize("prefill", [True, False])
@pytest.mark.parametrize("image_format", ["vmdk", "vhdx", "qed"])
def test_format_that_must_grow_its_file_is_not_run_with_qemus_message(
    open_target: Opener, image_format: str, prefill: bool
) -> None:
    session = open_target("qemu-nbd", image_format)
    with pytest.raises(
        NotRun, match=r"QEMU cannot (make|write) .*: .*(Invalid argument|No space|resize)"
    ) as caught:
        session.new_disk("4M", prefill=prefill)
    assert str(session.scratch) not in str(caught.value)


@pytest.mark.parametrize("image_format", ["qcow2", "parallels", "luks"])
@pytest.mark.parametrize("error", ["EIO", "ENOSPC", "EINVAL"])
@pytest.mark.parametrize("place", ["0-511", "65536-16777215"])
def test_a_target_that_fails_requests_of_an_image_is_no_reason_to_leave_a_case_out(
    open_target: Opener, scratch: Path, image_format: str, error: str, place: str
) -> None:
    rules = scratch / "rules.yaml"
    rules.write_text(
        f"rules:\n  - {{event: write_aio, iotype: write, errno: {error}, offset: {place}}}\n"
    )
    text = (ROOT / "targets" / "reference.yaml").read_text()
    text = text.replace("{python} -S", "{python}").replace(
        "{options}\n", f"{{options}} --rules {rules}\n"
    )
    with pytest.raises(SetupError, match=r"image failed|prefill of volume disk failed"):
        open_target(text, image_format).new_disk("1M")


@pytest.mark.parametrize("image_format", ["vmdk", "vhdx"])
def test_growing_format_starts_empty_where_it_can_grow(
    open_target: Opener, image_format: str
) -> None:
    session = open_target("file", image_format)
    disk = session.new_disk("4M", prefill=False)
    disk.verify()


def test_image_options_reach_qemu_img(open_target: Opener) -> None:
    session = open_target("file", "qcow2", image_options="cluster_size=4k")
    disk = session.new_disk("1M", prefill=False)
    assert session.qemu_img.json("info", disk.filename)["cluster-size"] == 4096


def test_disk_size_may_have_a_unit(open_target: Opener) -> None:
    session = open_target("file")
    assert session.new_disk("64k", prefill=False).size == 65536
    with pytest.raises(ValueError, match="'8 MiB' is not a size"):
        session.new_disk("8 MiB")


def test_the_file_of_a_volume_with_a_long_name_has_a_short_name() -> None:
    assert file_stem("pool/disk") == "pool_disk"
    long, other = file_stem("n" * 4096), file_stem("n" * 4095)
    assert long != other
    assert len(long) < 64


def test_data_beyond_the_end_is_told_once() -> None:
    shadow = Shadow(3 * SECTOR, Identity(1, 2))
    shadow.prefill()
    with pytest.raises(WrongData) as caught:
        judge(shadow, 0, shadow.expected(0, 3 * SECTOR) + b"\1" * SECTOR, "volume disk is wrong")
    assert str(caught.value) == (
        "volume disk is wrong:\noffset 1536 (0x600), sector 3, 512 bytes: data beyond the end of"
        " 1536 bytes"
    )


@pytest.mark.parametrize(("way", "kinds"), [("stop", ["restart"]), ("kill", ["cut"])])
def test_the_life_has_the_ends_of_connections_and_servers(
    open_target: Opener, way: str, kinds: list[str]
) -> None:
    session = open_target("reference-file")
    disk = session.new_disk("1M")
    with session.qemu_io(disk) as io:
        io.write(0, SECTOR)
    getattr(disk.backend, way)()
    disk.backend.start()
    life = disk.shadow.history.life((0, SECTOR))
    assert [one.kind for one in life if one.kind not in ("prefill", "flush")] == [
        "write", "close", *kinds,
    ]  # fmt: skip
    assert life[-1].text == (KILLED if way == "kill" else "")
    disk.verify()
