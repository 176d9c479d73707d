"""A block that fio found wrong is read again by qemu-img: was the read wrong, or is the data?"""

from __future__ import annotations

from pathlib import Path

import pytest

from oracles.damage import Confidence, Damage
from oracles.finding import Finding
from qbdcheck.guest.devices import Device
from qbdcheck.guest.fio_block import block_of
from qbdcheck.guest.fio_result import VerifyFailure
from qbdcheck.guest.fio_run import WrongBlocks
from qbdcheck.guest.guest import GuestDisk
from qbdcheck.guest.second_read import findings_of
from qbdcheck.programs.installed import Programs


def fio_block(offset: int) -> bytes:
    """Return a block of 4096 bytes with a header as fio 3.33 writes it, for an offset."""
    head = "caac020000100000 3c5409c501cca400 {} 000000001f64381d 01000200 05cf432e"
    header = bytes.fromhex(head.format(offset.to_bytes(8, "little").hex()))
    return header.ljust(4096, b"f")


OF_FIO = fio_block(8192)
NO_MAGIC = "verify: bad magic header 0, wanted acca"
STRANGE = "verify: bad magic header 1234, wanted acca"


def read_again(
    directory: Path, data: bytes, what: str = NO_MAGIC, path: str = "/dev/vdb", **blockdev: object
) -> list[Finding]:
    stored = directory / "stored"
    stored.write_bytes(bytes(8192) + data.ljust(8192, b"\0"))
    options: dict[str, object] = {"driver": "file", "filename": str(stored)}
    options = {**blockdev, "file": options} if blockdev else options
    disk = GuestDisk("disk0", "node-disk0", Device(), "/dev/vdb", options)
    failure = VerifyFailure(file=path, offset=8192, length=4096, what=what)
    return list(findings_of([failure], [disk], Programs(), directory))


@pytest.mark.parametrize(
    ("data", "what", "damage", "says"),
    [
        (b"", NO_MAGIC, Damage.ZEROED, "zeroes, so the stored data is wrong"),
        (
            OF_FIO,
            NO_MAGIC,
            Damage.ZEROED,
            "a block of fio for offset 8192, 4096 bytes, write 2 of job 1, so the read was wrong",
        ),
        (fio_block(4096), STRANGE, Damage.MISDIRECTED, "for offset 4096, 4096 bytes, write 2"),
        (bytes(4096) + OF_FIO, NO_MAGIC, Damage.ZEROED, "zeroes, so the stored data is wrong"),
        (b"x" * 4096, STRANGE, Damage.UNKNOWN, "no block of fio either, so the stored data is"),
        (OF_FIO, "md5: verify failed", Damage.UNKNOWN, "its other bytes were not compared"),
    ],
)
def test_a_second_read_says_whether_the_data_or_the_read_is_wrong(
    tmp_path: Path, data: bytes, what: str, damage: Damage, says: str
) -> None:
    (finding,) = read_again(tmp_path, data, what)
    assert (finding.damage, finding.offset, finding.length) == (damage, 8192, 4096)
    assert says in finding.evidence[0]
    assert [one.name for one in tmp_path.iterdir()] == ["stored"]


def test_a_block_of_an_image_format_is_not_read_beside_its_guest(tmp_path: Path) -> None:
    (finding,) = read_again(tmp_path, OF_FIO, driver="qcow2")
    assert finding.evidence == ()
    (finding,) = read_again(tmp_path, OF_FIO, driver="raw")
    assert "a block of fio" in finding.evidence[0]


def test_a_file_in_the_guest_is_no_place_of_the_volume(tmp_path: Path) -> None:
    assert read_again(tmp_path, OF_FIO, path="/mnt/file") == []


def test_a_second_read_that_fails_says_why(tmp_path: Path) -> None:
    (finding,) = read_again(tmp_path, b"", driver="raw", size=4096)
    assert "exited with 1: qemu-img: Could not open" in finding.evidence[0]


def test_the_text_of_the_failure_has_the_second_read(tmp_path: Path) -> None:
    error = WrongBlocks("fio in the guest: ...", read_again(tmp_path, b""))
    assert str(error).endswith("zeroes, so the stored data is wrong")


def test_a_block_of_another_place_says_how_far_it_went(tmp_path: Path) -> None:
    (finding,) = read_again(tmp_path, fio_block(4096), STRANGE)
    assert finding.moved == 4096
    assert finding.confidence is Confidence.CERTAIN
    assert finding.text.startswith("misdirected: a block of fio for offset 4096")
    assert finding.sector_bytes is not None
    assert finding.sector_bytes.seen == fio_block(4096)[:512]


def test_a_block_that_is_missing_is_looked_for_around_its_place(tmp_path: Path) -> None:
    (finding,) = read_again(tmp_path, bytes(4096) + OF_FIO)
    assert finding.found_at == 12288
    assert "found instead at sector 24 (+8)" in finding.text
    (finding,) = read_again(tmp_path, bytes(4096) + fio_block(4096))
    assert finding.found_at is None


def test_what_is_not_known_is_not_certain(tmp_path: Path) -> None:
    (finding,) = read_again(tmp_path, b"x" * 4096, STRANGE)
    assert (finding.damage, finding.confidence) == (Damage.UNKNOWN, Confidence.UNKNOWN)
    (finding,) = read_again(tmp_path, b"", NO_MAGIC)
    assert finding.confidence is Confidence.CERTAIN


def test_data_without_a_header_is_no_block() -> None:
    assert block_of(OF_FIO[:20]) is None
    assert block_of(bytes(4096)) is None
    assert str(block_of(OF_FIO)) == "a block of fio for offset 8192, 4096 bytes, write 2 of job 1"


def test_fio_itself_says_that_a_block_is_of_another_place(tmp_path: Path) -> None:
    what = "verify: bad header offset 4096, wanted 8192"
    for data, confidence in ((fio_block(4096), Confidence.CERTAIN), (OF_FIO, Confidence.LIKELY)):
        (finding,) = read_again(tmp_path, data, what)
        assert (finding.damage, finding.moved) == (Damage.MISDIRECTED, 4096)
        assert finding.confidence is confidence
    assert finding.evidence[0].endswith("so the read was wrong")
