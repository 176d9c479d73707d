"""A wrong read is repeated: what that shows is in the findings."""

from __future__ import annotations

import numpy as np
import pytest

from oracles.damage import Damage
from oracles.finding import READ_WAS_WRONG
from oracles.shadow import Shadow
from oracles.stamps import SECTOR, Identity
from qbdcheck.errors import ProgramError
from qbdcheck.targets.disk_io import WrongData, judge
from qbdcheck.targets.second_read import ReadAgain, SeenAgain, SentAsHole
from reference_backend.nbd.errors import ReplyHasGaps

HOLES = ((0, 64 * SECTOR, True),)


@pytest.fixture
def shadow() -> Shadow:
    made = Shadow(64 * SECTOR, Identity(1, 2))
    made.prefill()
    return made


def evidence(shadow: Shadow, seen: bytes, again: ReadAgain) -> tuple[str, ...]:
    with pytest.raises(WrongData) as caught:
        judge(shadow, 5 * SECTOR, seen, "read", again=again)
    [finding] = caught.value.findings
    return finding.evidence


def test_right_data_the_second_time_accuses_the_read(shadow: Shadow) -> None:
    right = shadow.expected(0, 64 * SECTOR)
    [line] = evidence(shadow, bytes(SECTOR), lambda at, length: (right[at : at + length], ()))
    assert line.endswith("the data is right, so the read was wrong")


def test_the_same_damage_accuses_the_stored_data(shadow: Shadow) -> None:
    [line] = evidence(shadow, bytes(SECTOR), lambda _, length: (bytes(length), HOLES))
    assert line.endswith("the same damage, so the stored data is wrong")


def test_a_hole_that_has_data_accuses_the_read(shadow: Shadow) -> None:
    """A server that sends a hole over data stores it rightly: a read with DF returns it."""
    right = np.frombuffer(shadow.expected(0, 64 * SECTOR), np.uint8)

    def hole(at: int, length: int) -> SeenAgain:
        raise SentAsHole(right[at : at + length])

    [line] = evidence(shadow, bytes(SECTOR), hole)
    assert line == (
        "read again over a new connection: sent as a hole; a read with DF: the data is right, "
        + READ_WAS_WRONG
    )


def test_other_damage_is_named(shadow: Shadow) -> None:
    [line] = evidence(shadow, bytes(SECTOR), lambda _, length: (b"x" * length, ()))
    assert "read again over a new connection: " in line
    assert "same damage" not in line


def test_a_server_that_is_gone_changes_nothing_else(shadow: Shadow) -> None:
    def gone(_offset: int, _length: int) -> tuple[bytes, tuple[tuple[int, int, bool], ...]]:
        raise ConnectionRefusedError("nobody listens")

    assert evidence(shadow, bytes(SECTOR), gone) == ("read again: nobody listens",)

    def failed(_offset: int, _length: int) -> tuple[bytes, tuple[tuple[int, int, bool], ...]]:
        raise ProgramError("first line\nsecond", [], None)

    assert evidence(shadow, bytes(SECTOR), failed)[0].startswith("read again: first line")


def test_the_neighbourhood_is_searched_for_the_lost_write(shadow: Shadow) -> None:
    whole = bytearray(shadow.expected(0, 64 * SECTOR))
    old = bytes(whole[5 * SECTOR : 6 * SECTOR])
    data = shadow.stamped(5 * SECTOR, SECTOR)
    shadow.write(5 * SECTOR, data)
    whole[6 * SECTOR : 7 * SECTOR] = data
    with pytest.raises(WrongData) as caught:
        judge(
            shadow,
            5 * SECTOR,
            old,
            "read",
            again=lambda at, length: (bytes(whole[at : at + length]), HOLES),
        )
    [finding] = caught.value.findings
    assert finding.found_at == 6 * SECTOR
    assert finding.allocation == HOLES
    assert "found instead at sector 6 (+1)" in str(finding)


def test_the_connection_that_saw_the_damage_is_asked_as_well(shadow: Shadow) -> None:
    right = shadow.expected(0, 64 * SECTOR)

    def again(at: int, length: int) -> tuple[bytes, tuple[tuple[int, int, bool], ...]]:
        return bytes(right[at : at + length]), ()

    with pytest.raises(WrongData) as caught:
        judge(shadow, 5 * SECTOR, bytes(SECTOR), "read", again=again, same=lambda _, n: bytes(n))
    assert caught.value.findings[0].evidence == (
        "read again over the same connection: the same damage",
        "read again over a new connection: the data is right, so the read was wrong",
    )

    def gone(_offset: int, _length: int) -> bytes:
        raise ConnectionResetError("reset")

    with pytest.raises(WrongData) as caught:
        judge(shadow, 5 * SECTOR, bytes(SECTOR), "read", again=again, same=gone)
    assert caught.value.findings[0].evidence[0] == "read again over the same connection: reset"


def test_a_reply_that_leaves_the_place_out_is_the_damage(shadow: Shadow) -> None:
    """The reader saw what its buffer held, which looks like any other damage."""

    def again(_offset: int, _length: int) -> tuple[bytes, tuple[tuple[int, int, bool], ...]]:
        raise ReplyHasGaps("READ of 32768 bytes ended after 28672", [(4 * SECTOR, 4096)])

    strange = bytes(shadow.expected(9 * SECTOR, SECTOR))
    with pytest.raises(WrongData) as caught:
        judge(shadow, 5 * SECTOR, strange, "read", again=again)
    [finding] = caught.value.findings
    assert finding.damage is Damage.LENGTH
    assert finding.text.startswith("the reply to a READ has no data for this place")
    assert finding.evidence[-1].endswith("no chunk for 4096 bytes at offset 2048")
    with pytest.raises(WrongData) as caught:  # another place: the gap does not explain it
        judge(shadow, 40 * SECTOR, strange, "read", again=again)
    [finding] = caught.value.findings
    assert finding.damage is Damage.MISDIRECTED
    assert "no chunk for" in finding.evidence[-1]


def test_a_place_that_is_right_in_a_read_of_its_own_is_stored_rightly(shadow: Shadow) -> None:
    def again(at: int, length: int) -> tuple[bytes, tuple[tuple[int, int, bool], ...]]:
        whole = bytearray(shadow.expected(0, shadow.size))
        if length > SECTOR:
            whole[5 * SECTOR : 6 * SECTOR] = bytes(SECTOR)
        return bytes(whole[at : at + length]), ()

    (line,) = evidence(shadow, bytes(SECTOR), again)
    assert line == (
        f"read again over a new connection: the same damage in a read of {shadow.size} bytes;"
        " a read of these 512 bytes alone: the data is right, so the read was wrong"
    )
    assert READ_WAS_WRONG in line
