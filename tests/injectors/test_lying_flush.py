"""Durability that is promised and not given."""

from __future__ import annotations

from blockio.layers import CommandFlag
from tests.injectors.conftest import Stack


def test_a_flush_is_not_carried_out(faulty: type[Stack]) -> None:
    stack = faulty("{event: flush_to_disk, action: lie}")
    assert stack.flush().error == 0
    assert stack.disk.asked == []
    assert stack.fired == [1]


def test_a_write_loses_only_its_fua(faulty: type[Stack]) -> None:
    stack = faulty("{event: write_aio, action: lie}")
    stack.write(b"x" * 512, flags=CommandFlag.FUA)
    assert stack.disk.asked == [("WRITE", 0, 512, 0)]
    assert stack.disk.data[:512] == b"x" * 512


def test_a_write_without_fua_is_not_a_match(faulty: type[Stack]) -> None:
    stack = faulty("{event: write_aio, action: lie}")
    stack.write(b"x" * 512)
    assert stack.fired == [0]
