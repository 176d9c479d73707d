from pathlib import Path

import pytest

from blockio.write_log import (
    Entry,
    LogFlag,
    LogWriter,
    WriteLogError,
    entries_in,
    read_log,
    write_log,
)

ENTRIES = [
    Entry(LogFlag(0), 4096, 1024, b"a" * 1024),
    Entry(LogFlag.FLUSH),
    Entry(LogFlag.FUA, 0, 512, b"b" * 512),
    Entry(LogFlag.DISCARD, 8192, 4096),
    Entry(LogFlag.MARK, data=b"committed 7"),
]


def test_a_saved_script_can_be_read_again(tmp_path: Path) -> None:
    path = tmp_path / "log"
    write_log(path, ENTRIES)
    assert [entry._replace(data=bytes(entry.data)) for entry in read_log(path)] == ENTRIES
    assert entries_in(path) == len(ENTRIES)


def test_the_layout_is_that_of_dm_log_writes(tmp_path: Path) -> None:
    path = tmp_path / "log"
    write_log(path, ENTRIES)
    data = path.read_bytes()
    assert data[:28].hex() == "7268737766736a0001000000000000000500000000000000" + "00020000"
    assert data[512:544].hex() == "0800000000000000" + "0200000000000000" + "00" * 16
    assert data[1024:2048] == b"a" * 1024
    mark = len(data) - 512
    assert data[mark + 24 : mark + 43] == b"\x0b" + bytes(7) + b"committed 7"


def test_a_log_is_valid_after_each_entry(tmp_path: Path) -> None:
    path = tmp_path / "log"
    writer = LogWriter(path)
    for count, entry in enumerate(ENTRIES, 1):
        writer.append(entry)
        assert len(read_log(path)) == entries_in(path) == count
    writer.close()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"", "first sector"),
        (lambda data: b"QFI\xfb" + data[4:], "no write log"),
        (lambda data: data[:8] + b"\x02" + data[9:], "version 2"),
        (lambda data: data[:24] + b"\x01" + data[25:], "sectors of 513 bytes"),
        (lambda data: data[:-512], "before entry 4 of 5"),
        (lambda data: data[:1200], "entry 0 of 5 goes beyond"),
        (lambda data: data[:528] + b"\xff" + data[529:], "unknown flags 0xff"),
    ],
)
def test_errors_name_the_damage(tmp_path: Path, damage: object, message: str) -> None:
    path = tmp_path / "log"
    write_log(path, ENTRIES)
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(WriteLogError, match=message):
        read_log(path)


@pytest.mark.parametrize(
    "entry",
    [
        Entry(LogFlag(0), 1, 512, bytes(512)),
        Entry(LogFlag(0), 0, 512, bytes(511)),
        Entry(LogFlag.DISCARD, 0, 512, bytes(512)),
        Entry(LogFlag.MARK, data=bytes(481)),
    ],
)
def test_what_the_format_cannot_hold_is_refused(tmp_path: Path, entry: Entry) -> None:
    with pytest.raises(ValueError, match="bytes"):
        write_log(tmp_path / "log", [entry])
