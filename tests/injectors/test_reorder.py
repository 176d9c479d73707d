"""Writes that are executed after later writes."""

from __future__ import annotations

from blockio.layers import CommandFlag
from tests.injectors.conftest import Stack

A, B = b"a" * 512, b"b" * 512
RULE = "{event: write_aio, action: reorder, once: true}"


def test_a_write_is_carried_out_after_the_next_one(faulty: type[Stack]) -> None:
    stack = faulty(RULE)
    stack.write(A, offset=0)
    assert stack.disk.asked == []
    stack.write(B, offset=512)
    assert [offset for _, offset, *_ in stack.disk.asked] == [512, 0]


def test_the_older_of_two_overlapping_writes_wins(faulty: type[Stack]) -> None:
    stack = faulty(RULE)
    stack.write(A)
    stack.write(B)
    assert stack.disk.data[:512] == A


def test_a_read_or_a_flush_ends_the_hold(faulty: type[Stack]) -> None:
    stack = faulty(RULE)
    stack.write(A)
    assert stack.read().data == A
    stack = faulty(RULE)
    stack.write(A)
    stack.flush()
    assert stack.commands_seen == ["WRITE", "FLUSH"]


def test_a_write_with_fua_is_not_held(faulty: type[Stack]) -> None:
    stack = faulty(RULE)
    stack.write(A, flags=CommandFlag.FUA)
    assert stack.commands_seen == ["WRITE"]
    assert stack.fired == [0]


def test_past_flush_holds_durable_writes(faulty: type[Stack]) -> None:
    stack = faulty("{event: write_aio, action: reorder, once: true, past_flush: true}")
    stack.write(A, flags=CommandFlag.FUA)
    stack.flush()
    assert stack.commands_seen == ["FLUSH"]


def test_removing_the_rule_carries_out_the_held_write(faulty: type[Stack]) -> None:
    stack = faulty(RULE)
    stack.write(A)
    stack.layer.clear()
    assert stack.disk.data[:512] == A
    assert not stack.layer.active


def test_every_second_write_is_held(faulty: type[Stack]) -> None:
    stack = faulty("{event: write_aio, action: reorder}")
    for number in range(4):
        stack.write(A, offset=number * 512)
    assert [offset // 512 for _, offset, *_ in stack.disk.asked] == [1, 0, 3, 2]
