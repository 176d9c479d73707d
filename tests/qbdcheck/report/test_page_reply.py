"""A reply is shown as tables: its chunks, and the extents of a block status."""

from __future__ import annotations

import pytest

from qbdcheck.report.page_reply import extents_of, head_of, parts_of, received

SENT = "sent: BLOCK_STATUS, offset 4096, length 8388608, flags 0x0, cookie 0x7"
HEAD = "668e33ef 00010005 00000000 00000007 00000014"


def test_the_extents_follow_the_requested_offset() -> None:
    body = "00000001 00080000 00000000 00000000 00000003"
    found = extents_of(("sent: WRITE", SENT, f"received, 40 bytes: {HEAD} {body}"))
    assert [(one.number, one.offset, one.length, one.is_empty) for one in found] == [
        (1, 4096, 524288, False),
        (2, 528384, 0, True),
    ]
    assert [one.flags for one in found] == ["0x0: allocated data", "0x3: hole, reads as zeroes"]


def test_the_extents_are_those_of_the_request_that_was_answered() -> None:
    body = "00000001 00080000 00000000"
    wire = (SENT, SENT.replace("4096", "8192"), SENT.replace("sent", "answered"))
    (found,) = extents_of((*wire, f"received, 32 bytes: {HEAD} {body}"))
    assert found.offset == 4096


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        ("67446698 00000001 01000000 00000000", "simple reply, EPERM, cookie 0x0100000000000000"),
        ("67446698 00000000 00000000 00000007", "simple reply, no error, cookie 0x00000000000000"),
        (
            "668e33ef 00018001 43000000 00000000 00000006 0000000c 0000",
            "error chunk, ENOMEM, cookie 0x4300000000000000",
        ),
        (HEAD, "chunk of type BLOCK_STATUS, no error, cookie 0x0000000000000007"),
    ],
)
def test_the_head_of_a_reply_is_told_in_words(sent: str, says: str) -> None:
    head = head_of(received((SENT, f"received, 16 bytes: {sent} ...")))
    assert str(head).startswith(says)


def test_what_has_no_magic_is_no_reply() -> None:
    assert head_of(b"") is None
    assert head_of(bytes(32)) is None
    assert head_of(bytes.fromhex("674466")) is None


def test_other_replies_have_no_table() -> None:
    assert extents_of(()) == ()
    assert extents_of((SENT, "received: nothing")) == ()
    assert extents_of((SENT, "received, 16 bytes: 67446698 00000000 00000000 00000007")) == ()
    assert extents_of((f"received, 20 bytes: {HEAD}",)) == ()


def test_the_chunks_of_a_reply_are_a_table_with_the_wrong_one_marked() -> None:
    found = parts_of(
        (
            SENT,
            "chunk 1: OFFSET_DATA; 4096; 512; -; -",
            "chunk 2: ERROR; -; 14; DONE; 5 (Input/output error); wrong",
            "received: nothing",
        )
    )
    assert [(one.number, one.kind, one.offset, one.length) for one in found] == [
        ("1", "OFFSET_DATA", "4096", "512"), ("2", "ERROR", "-", "14"),
    ]  # fmt: skip
    assert [(one.flags, one.error, one.is_wrong) for one in found] == [
        ("-", "-", False), ("DONE", "5 (Input/output error)", True),
    ]  # fmt: skip
    [missing] = parts_of(("chunk 0: no chunk; 512; 1024; -; -; wrong",))
    assert (missing.number, missing.kind, missing.is_wrong) == ("", "no chunk", True)
    assert parts_of((SENT,)) == ()
