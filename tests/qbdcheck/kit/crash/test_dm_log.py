"""The durable contents at each moment according to a log of Linux."""

from __future__ import annotations

from pathlib import Path

from blockio.write_log import Entry, LogFlag, read_log, write_log
from qbdcheck.kit.crash.dm_log import disagreements, marks
from qbdcheck.kit.crash.recorder import without_flushes

SIZE = 4096


def write(offset: int, letter: bytes, flags: int = 0) -> Entry:
    return Entry(LogFlag(flags), offset, 512, letter * 512)


def mark(text: str) -> Entry:
    return Entry(LogFlag.MARK, data=text.encode())


def test_logs_of_qemu_and_linux_agree_on_durable_data() -> None:
    linux = [
        mark("a"),
        write(0, b"x"),
        Entry(LogFlag.FLUSH),
        write(512, b"c", LogFlag.FUA | LogFlag.METADATA),
        mark("b"),
        write(1024, b"y"),
        mark("c"),
        Entry(LogFlag.FLUSH),
        mark("d"),
    ]
    qemu = [
        write(0, b"x"), Entry(LogFlag.FLUSH), write(512, b"c"), Entry(LogFlag.FLUSH),
        write(1024, b"y"), Entry(LogFlag.FLUSH),
    ]  # fmt: skip
    places = marks(linux)

    def differ(other: list[Entry], at: tuple[int, ...] = (0, 4, 5, 6)) -> list[str]:
        moments = zip((places[name] for name in "abcd"), at, strict=True)
        return disagreements(linux, other, bytes(SIZE), moments)

    assert differ(qemu) == []
    early = [*qemu[:3], qemu[4], qemu[3]]  # y was written while the flush for c began
    assert differ(early, (0, 5, 5, 5)) == []
    assert differ(without_flushes(qemu))[:2] == [
        "moment 1: another sector is durable at 0",
        "moment 1: another sector is durable at 512",
    ]
    assert differ([*qemu[:4], write(1024, b"z"), qemu[5]]) == [
        "moment 3: another sector is durable at 1024"
    ]


def test_a_log_may_flag_metadata(tmp_path: Path) -> None:
    entry = write(512, b"m", LogFlag.FUA | LogFlag.METADATA)
    write_log(tmp_path / "log", [entry])
    (seen,) = read_log(tmp_path / "log")
    assert (seen.flags, bytes(seen.data)) == (entry.flags, entry.data)
