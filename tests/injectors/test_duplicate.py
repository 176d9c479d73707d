"""Requests that are executed twice, replies that are sent twice."""

from __future__ import annotations

from tests.injectors.conftest import Stack, on_wire

A, B = b"a" * 512, b"b" * 512


def test_a_repeated_write_replaces_newer_data(faulty: type[Stack]) -> None:
    stack = faulty("{event: write_aio, action: duplicate, once: true}")
    stack.write(A)
    assert stack.disk.data[:512] == A
    stack.write(B)
    assert stack.disk.data[:512] == A
    assert stack.commands_seen == ["WRITE"] * 3


def test_a_repeated_write_to_another_place_changes_nothing(faulty: type[Stack]) -> None:
    stack = faulty("{event: write_aio, action: duplicate, once: true}")
    stack.write(A)
    stack.write(B, offset=512)
    assert stack.disk.data[:1024] == A + B


def test_removing_the_rule_drops_the_held_write(faulty: type[Stack]) -> None:
    stack = faulty("{event: write_aio, action: duplicate, once: true}")
    stack.write(A)
    stack.layer.clear()
    stack.write(B)
    assert stack.disk.data[:512] == B


def test_a_reply_is_sent_twice(faulty: type[Stack]) -> None:
    stack = faulty("{event: read_aio, action: duplicate, of: reply}")
    assert on_wire(stack.read(), b"reply") == (b"replyreply", True)
