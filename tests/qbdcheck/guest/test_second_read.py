"""A block that fio found wrong is read again by qemu-img: was the read wrong, or is the data?"""

from __future__ import annotations

from pathlib import Path

import pytest

from oracles.damage import Damage
from oracles.finding import Finding
from qbdcheck.guest.devices import Device
from qbdcheck.guest.fio_result import VerifyFailure
from qbdcheck.guest.fio_run import WrongBlocks
from qbdcheck.guest.guest import GuestDisk
from qbdcheck.guest.second_read import findings_of
from qbdcheck.programs.installed import Programs

OF_FIO = bytes.fromhex("caac") + b"a block of fio" * 256
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
        (OF_FIO, NO_MAGIC, Damage.ZEROED, "a block of fio, so the read was wrong"),
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
