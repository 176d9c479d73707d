"""The blocks that fio dumps, compared: which sector is wrong, with which bytes and what kind."""

from __future__ import annotations

import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from oracles.damage import Confidence, Damage
from oracles.finding import Finding
from qbdcheck.guest.devices import Device
from qbdcheck.guest.fio_block import crc32c
from qbdcheck.guest.fio_dump import Dump
from qbdcheck.guest.fio_messages import verify_failures
from qbdcheck.guest.fio_result import VerifyFailure
from qbdcheck.guest.fio_run import WrongBlocks
from qbdcheck.guest.guest import GuestDisk
from qbdcheck.guest.second_read import findings_of
from qbdcheck.programs.installed import Programs
from qbdcheck.report.page_bytes import comparison

AT = 8192
DATA = bytes(number * 37 % 251 for number in range(4096))
MD5 = "md5: verify failed"
NUMBER = "verify: bad header numberio 5, wanted 17"
CRC = "verify: bad header crc 1, calculated 2"


def block(offset: int = AT, number: int = 17, seconds: int = 9, version: int = 0) -> bytes:
    """Return a block of fio with a right header: of 3.33, or of 3.41 with a version."""
    if version:
        fields = 0xACCA, version, 2, 4096, 77, offset, seconds, 5, number, 1
        header = struct.pack("<HBBIQQIIQHxx", *fields)
    else:
        header = struct.pack("<HHIQQIIHH", 0xACCA, 2, 4096, 77, offset, seconds, 5, 1, number)
    header += crc32c(header).to_bytes(4, "little")
    return header + DATA[len(header) :]


def flipped(data: bytes, bit: int) -> bytes:
    return data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]


def found(seen: bytes, wanted: bytes = b"", what: str = MD5) -> list[Finding]:
    names = ("vdb.8192.received", "vdb.8192.expected") if wanted else ("vdb.8192.hdr_fail",)
    failure = VerifyFailure(file="/dev/vdb", offset=AT, length=4096, what=what, dumps=names)
    dump = Dump.of(failure, dict(zip(names, (seen, wanted), strict=False)))
    return [] if dump is None else list(dump.findings(failure))


def test_a_flipped_bit_of_the_data_is_named_with_its_bytes() -> None:
    (one,) = found(flipped(block(), 8 * 1500 + 3), block(seconds=11))
    assert (one.damage, one.confidence) == (Damage.BIT_FLIP, Confidence.CERTAIN)
    assert (one.offset, one.length, one.first_difference) == (AT + 1024, 512, AT + 1500)
    assert one.text == "bit flip at byte 476 of the sector (bit 3)"
    assert str(one.expected) == "a block of fio for offset 8192, 4096 bytes, write 17 of job 1"
    shown = comparison(one)
    assert shown is not None
    wrong = [(row.offset, at) for row in shown.rows for at, cell in enumerate(row.seen)
             if cell.differs]  # fmt: skip
    assert wrong == [(AT + 1488, 12)]
    assert all(row.expected for row in shown.rows)


@pytest.mark.parametrize("version", [0, 0x81])
@pytest.mark.parametrize("bit", [3, 40, 200, 319])
def test_a_flipped_bit_of_the_header_is_named_by_its_checksum(bit: int, version: int) -> None:
    (one,) = found(flipped(block(version=version), bit), what=CRC)
    assert (one.damage, one.offset, one.length) == (Damage.BIT_FLIP, AT, 512)
    assert one.text == f"bit flip at byte {bit // 8} of the sector (bit {bit % 8})"


@pytest.mark.parametrize(
    ("seen", "damage", "place"),
    [
        (block()[:2048] + bytes(2048), Damage.ZEROED, (AT + 2048, 2048)),
        (block()[:512] + block()[496:4080], Damage.SHIFTED, (AT + 512, 3584)),
    ],
)
def test_the_kind_is_that_of_the_sectors(
    seen: bytes, damage: Damage, place: tuple[int, int]
) -> None:
    first = found(seen, block())[0]
    assert (first.damage, first.offset, first.length) == (damage, *place)


def test_an_older_write_to_the_same_place_is_stale() -> None:
    (one,) = found(block(number=5), what=NUMBER)
    assert one.damage is Damage.STALE
    assert one.text == "write 5 of fio to this place is there, and write 17 of fio is expected"
    (one,) = found(block(number=18), what="verify: bad header numberio 18, wanted 17")
    assert one.damage is Damage.OTHER_WRITE
    (one,) = found(block(number=5), what="verify: bad header rand_seed 7, wanted 8")
    assert (one.damage, one.confidence) == (Damage.STALE, Confidence.LIKELY)


@pytest.mark.parametrize(
    ("seen", "what"),
    [
        (bytes(4096), "verify: bad magic header 0, wanted acca"),
        (b"x" * 4096, "verify: bad magic header 7878, wanted acca"),
        (block(offset=4096), "verify: bad header offset 4096, wanted 8192"),
        (block()[:4000], NUMBER),  # the guest had no room for the rest of the dump
    ],
)
def test_bytes_that_do_not_show_what_was_written_say_nothing(seen: bytes, what: str) -> None:
    assert found(seen, what=what) == []


@pytest.mark.skipif(shutil.which("fio") is None, reason="fio is not installed")
@pytest.mark.parametrize("verify", ["crc32c", "md5", "pattern --verify_pattern=0xdeadbeef"])
@pytest.mark.parametrize("at", [24, 3000])  # in the header, and behind it
def test_the_dumps_of_the_installed_fio_show_the_flipped_bit(
    tmp_path: Path, verify: str, at: int
) -> None:
    file = tmp_path / "blocks"
    job = f"--name=j --filename={file} --size=16k --bs=4k --ioengine=psync --verify={verify}"

    def fio(options: str) -> subprocess.CompletedProcess[str]:
        command = ["fio", "--output-format=json", "--verify_dump=1", *job.split(), *options.split()]
        return subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)

    fio("--rw=write --do_verify=0")
    data = bytearray(file.read_bytes())
    data[AT + at] ^= 16
    file.write_bytes(data)
    done = fio("--rw=read")
    (failure,) = verify_failures(f"{done.stdout}\n{done.stderr}")
    assert (failure.offset, failure.length) == (AT, 4096)
    dump = Dump.of(failure, {name: (tmp_path / name).read_bytes() for name in failure.dumps})
    assert dump is not None
    (one,) = dump.findings(failure)
    assert one.damage is Damage.BIT_FLIP
    assert one.first_difference == AT + at
    assert dump.seen == data[AT : AT + 4096]
    data[AT + at] ^= 16
    assert dump.wanted == data[AT : AT + 4096]


def read_again(directory: Path, stored: bytes, seen: bytes) -> Finding:
    (directory / "stored").write_bytes(bytes(AT) + stored)
    node = {"driver": "file", "filename": str(directory / "stored")}
    disk = GuestDisk("disk0", "node-disk0", Device(), "/dev/vdb", node)
    names = ("vdb.8192.received", "vdb.8192.expected")
    failure = VerifyFailure(file="/dev/vdb", offset=AT, length=4096, what=MD5, dumps=names)
    dumps = dict(zip(names, (seen, block(seconds=11)), strict=True))
    (one,) = findings_of([failure], [disk], Programs(), directory, dumps)
    return one


def test_a_second_read_is_compared_with_both_blocks(tmp_path: Path) -> None:
    bad = flipped(block(), 9999)
    for stored, says in (
        (bad, "the same bytes, so the stored data is wrong"),
        (block(), "the data is right, so the read was wrong"),
        (flipped(bad, 20000), "other bytes than those that fio read"),
    ):
        one = read_again(tmp_path, stored, bad)
        assert one.damage is Damage.BIT_FLIP
        assert one.evidence == (f"read again over a new connection: {says}",)


def test_the_message_of_the_failure_names_the_sector_and_the_kind(tmp_path: Path) -> None:
    one = read_again(tmp_path, block(), flipped(block(), 9999))
    text = str(WrongBlocks("fio in the guest: ...", [one])).splitlines()
    assert text[1].endswith("sector 18, 512 bytes: bit flip at byte 225 of the sector (bit 7)")
    without = replace(one, difference=None)
    assert len(str(WrongBlocks("fio in the guest: ...", [without])).splitlines()) == 2


def test_a_block_that_is_not_of_fio_is_shown_as_it_was_read(tmp_path: Path) -> None:
    what = "verify: bad magic header 7878, wanted acca"
    failure = VerifyFailure(
        file="/dev/vdb", offset=AT, length=4096, what=what, dumps=("vdb.8192.hdr_fail",)
    )
    disk = GuestDisk("disk0", "node-disk0", Device(), "/dev/vdb", None)
    dumps = {"vdb.8192.hdr_fail": b"x" * 4096}
    (one,) = findings_of([failure], [disk], Programs(), tmp_path, dumps)
    assert one.damage is Damage.UNKNOWN
    assert one.sector_bytes is not None
    assert one.sector_bytes.seen == b"x" * 512
