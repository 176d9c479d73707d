"""Sequences of file operations: their number, and the permitted results after a crash."""

from __future__ import annotations

import pytest

from blockio.write_log import Entry, LogFlag
from qbdcheck.kit.crash.file_sequences import (
    AWAY,
    BAR,
    FILES,
    FOO,
    HARD,
    NEW,
    SUB,
    FileSequence,
    SequenceHistory,
    sequences,
)

Files = dict[str, bytes | None]
BEFORE: Files = {"A": None, "B": None, **FILES}
F, B = FILES[FOO], FILES[BAR]


def one(point: str, *names: str) -> FileSequence:
    (found,) = [each for each in sequences(len(names))
                if each.names == names and each.point == point]  # fmt: skip
    return found


def files(**changes: bytes | None) -> Files:
    """Return the first files; ``foo=None`` takes one away."""
    paths = {"foo": FOO, "bar": BAR, "new": NEW, "away": AWAY, "hard": HARD}
    result = dict(BEFORE)
    for name, data in changes.items():
        if data is None:
            del result[paths[name]]
        else:
            result[paths[name]] = data
    return result


def test_all_sequences_are_generated() -> None:
    assert len(list(sequences(1))) == 35  # 12 operations, 3 points, but no fsync of what is gone
    pairs = [(each.names, each.point) for each in sequences(2)]
    assert len(pairs) == len(set(pairs)) == 358
    assert (("rename away", "append"), "sync") not in pairs  # there is no such file any more


@pytest.mark.parametrize(
    ("names", "there", "persisted", "wrong"),
    [
        (("create",), files(), False, ""),
        (("create",), files(new=b""), False, ""),
        (("create",), files(), True, "A/new is lost"),
        (("write",), files(new=b"n" * 700), False, ""),
        (("write",), files(new=b"x" * 700), False, "never had: 700 bytes, 700 of 0x78"),
        (("write",), files(new=b"n" * 1024 + bytes(476)), False, "never had"),
        (("write",), files(new=b"n" * 1499), True, "differs from its persisted contents"),
        (("append",), files(foo=F + b"F" * 72), False, ""),
        (("append",), files(foo=F), True, "differs from its persisted contents"),
        (("append",), files(foo=F[:2999]), False, "never had"),
        (
            ("append",),
            files(foo=F + b"F" * 1500, bar=b"b" * 999),
            False,
            "A/bar has contents that it never",
        ),
        (("overwrite",), files(foo=F[:512] + b"O" * 512 + F[1024:]), False, ""),
        (("truncate",), files(foo=F[:700] + bytes(324) + F[1024:]), False, ""),
        (("rename over",), files(), False, ""),
        (("rename over",), files(foo=None, bar=F), True, ""),
        (("rename over",), files(foo=None), False, "the file of A/bar has none of its names"),
        (("rename over",), files(bar=F), False, "has the names ['A/bar', 'A/foo']"),
        (("rename over",), files(bar=None), False, "A/bar is lost"),
        (("rename away",), files(foo=None), False, "has none of its names"),
        (("rename away",), files(away=F), False, "never had all of them"),
        (("link",), files(hard=F), False, ""),
        (("link",), files(foo=None, hard=F), False, "A/foo is lost"),
        (("unlink",), files(bar=None), False, ""),
        (("unlink",), files(), True, "A/bar is there, and was persisted as something else"),
        (("mkdir",), {**files(), SUB: None}, True, ""),
        (("mkdir",), {**files(), SUB: b""}, False, "never had"),
        (("mkdir",), {**files(), "A/odd": b""}, False, "A/odd exists, and never did"),
        (("append", "fallocate"), files(foo=F + bytes(3000)), False, ""),  # the length is ahead
        (
            ("append", "fallocate"),
            files(foo=F + bytes(3000)),
            True,
            "differs from its persisted contents",
        ),
        (("append", "rename over"), files(foo=None, bar=F), False, ""),
        (
            ("append", "rename over"),
            files(foo=None, bar=F),
            True,
            "differs from its persisted contents",
        ),
    ],
)
def test_what_may_be_there(
    names: tuple[str, ...], there: Files, persisted: bool, wrong: str
) -> None:
    message = one("sync", *names).judge(there, persisted)
    assert (wrong in message) if wrong else not message, message


def test_an_fsync_of_a_file_promises_its_data_and_of_a_directory_its_names() -> None:
    lost = files(foo=F)
    assert "persisted" in one("fsync of it", "append").judge(lost, persisted=True)
    assert not one("fsync of A", "append").judge(lost, persisted=True)
    assert "A has" in one("fsync of A", "create").judge(files(), persisted=True)
    assert not one("fsync of it", "unlink", "append").judge(
        files(foo=F + b"F" * 1500), persisted=True
    )


def test_marks_are_found_in_the_log() -> None:
    some = [one("sync", "create"), one("sync", "link")]
    history = SequenceHistory(some, 8192)

    def marks(*texts: str) -> list[Entry]:
        return [Entry(LogFlag(0), 8192, 512, f"{text}\n".encode().ljust(512, b"\0"))
                for text in texts]  # fmt: skip

    write = Entry(LogFlag(0), 0, 512, bytes(512))
    log = history.locate([*marks("begin 0"), write, *marks("end 0", "begin 1", "end 1")])
    assert [entry.flags for entry in log] == [LogFlag.MARK, 0, *[LogFlag.MARK] * 3]
    assert history.acknowledged == [2, 4]
    assert [history.directory(limit) for limit in (0, 2, 3, 5)] == ["s0", "s0", "s1", "s1"]
    assert history.judge(1, files()) == ""
    assert history.judge(2, files()).startswith("create, sync: A/new is lost")
    assert history.judge(3, files()) == ""
    with pytest.raises(ValueError, match="no mark 'end 1'"):
        history.locate(marks("begin 0", "end 0", "begin 1"))
