"""Reads that return old data."""

from __future__ import annotations

import pytest

from blockio.layers import Command
from injectors.stale_read import StaleRead
from tests.injectors.conftest import Stack

RULE = "{event: read_aio, action: stale, iotype: read}"


def test_a_read_returns_what_was_there_before_the_last_write(faulty: type[Stack]) -> None:
    stack = faulty(RULE)
    stack.write(b"1" * 512)
    stack.write(b"2" * 512)
    assert stack.read().data == b"1" * 512
    assert stack.disk.data[:512] == b"2" * 512
    assert stack.fired == [1]


def test_only_sectors_written_since_are_stale(faulty: type[Stack]) -> None:
    stack = faulty(RULE)
    stack.disk.data[:2048] = b"0" * 2048
    stack.write(b"1" * 512, offset=512)
    assert stack.read(length=2048).data == b"0" * 2048
    stack.disk.data[0:512] = b"9" * 512
    assert stack.read(length=1024).data == b"9" * 512 + b"0" * 512


def test_a_read_of_what_nobody_wrote_is_right_and_no_fault(faulty: type[Stack]) -> None:
    stack = faulty(RULE)
    stack.write(b"1" * 512)
    assert stack.read(offset=512).data == bytes(512)
    assert stack.fired == [0]


def test_zeroes_and_discards_have_a_past_too(faulty: type[Stack]) -> None:
    for command in (Command.WRITE_ZEROES, Command.TRIM):
        stack = faulty(RULE)
        stack.disk.data[:512] = b"1" * 512
        stack.send(command)
        assert stack.read().data == b"1" * 512


def test_the_oldest_is_forgotten_first(faulty: type[Stack]) -> None:
    stack = faulty("{event: read_aio, action: stale, iotype: read, remember: 2}")
    stack.write(b"1" * 512)
    stack.write(b"2" * 1024, offset=512)
    assert stack.read(length=1536).data == b"1" * 512 + bytes(1024)


def test_at_least_a_sector_is_remembered() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        StaleRead(remember=0)
