"""``python -m oracles.crash_states``: shows a log, and makes the image of a state."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from blockio.write_log import Entry, LogFlag, write_log
from oracles.crash_states.__main__ import main


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "writes.log"
    entries = [
        Entry(LogFlag(0), 0, 512, b"a" * 512),
        Entry(LogFlag.FLUSH),
        Entry(LogFlag(0), 512, 512, b"b" * 512),
        Entry(LogFlag.MARK, 0, 0, b"done"),
    ]
    write_log(path, entries)
    return path


def test_info_lists_entries_and_counts_states(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", str(log)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["0", "WRITE", "0+512"]
    assert lines[1][:2] == ["1", "FLUSH"]
    assert lines[3] == ["3", "MARK", "done"]
    assert " ".join(lines[-1]) == "4 entries, 2 epochs, 4 crash states"


def test_info_of_a_discard_of_2_tib_needs_little_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mkfs.log"
    write_log(path, [Entry(LogFlag.DISCARD, 0, 2 << 40), Entry(LogFlag(0), 0, 512, b"a" * 512)])
    tracemalloc.start()
    try:
        assert main(["info", str(path)]) == 0
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
    # The discard is absent, whole, or torn at one of three places, with its first or last part.
    assert capsys.readouterr().out.splitlines()[-1] == "2 entries, 1 epochs, 16 crash states"


def test_make_writes_the_image_of_a_state(log: Path, tmp_path: Path) -> None:
    before, out = tmp_path / "before", tmp_path / "out"
    before.write_bytes(bytes(1024))
    arguments = ["make", str(log), "--before", str(before), "--out", str(out)]
    for state, contents in (("1:0", b"a" * 512 + bytes(512)), ("1:1", b"a" * 512 + b"b" * 512)):
        assert main([*arguments, "--state", state]) == 0
        assert out.read_bytes() == contents


@pytest.mark.parametrize(
    ("state", "text"), [("9:0", "the log has 2 epochs, not 9"), ("1:ff", "has no state ff")]
)
def test_a_state_that_does_not_exist_is_refused(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], state: str, text: str
) -> None:
    before = tmp_path / "before"
    before.write_bytes(bytes(1024))
    arguments = ["make", str(log), "--before", str(before), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--state", state]) == 2
    assert text in capsys.readouterr().err


def test_a_file_that_is_not_a_log_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "odd").write_bytes(b"odd" * 500)
    assert main(["info", str(tmp_path / "odd")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
