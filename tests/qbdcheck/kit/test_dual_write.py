"""The fixture dual_write and its sides, on real targets."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from oracles.sides import InOrder
from oracles.workload import EVERYDAY, Kind, Request
from qbdcheck.errors import CaseBroken
from qbdcheck.kit.dual_write import Differs, DualWriter
from qbdcheck.kit.local_sides import RawFile
from qbdcheck.kit.nbd_side import NbdSide
from qbdcheck.kit.qemu_verifiers import verdict_of
from qbdcheck.targets.session import TargetSession
from tests.qbdcheck.targets.conftest import Opener

Making = Callable[[str], tuple[TargetSession, DualWriter]]
LOSE = "rules: [{event: write_aio, iotype: write, action: drop, once: true}]"


@pytest.fixture
def making(open_target: Opener) -> Iterator[Making]:
    writers: list[DualWriter] = []

    def make(target: str) -> tuple[TargetSession, DualWriter]:
        session = open_target(target)
        writers.append(DualWriter(session, 1))
        return session, writers[-1]

    yield make
    for writer in writers:
        writer.close()


@pytest.mark.parametrize("through", ["nbd", "qemu", "qemu-io"])
def test_each_way_to_a_disk_agrees_with_the_reference(making: Making, through: str) -> None:
    session, writer = making("reference")
    disk = session.new_disk("512K")
    pair = writer(disk, through=through)
    weights = {**EVERYDAY, Kind.STATUS: 1}
    pair.run(pair.workload(random.Random(3), 150, weights=weights, depth=8))
    pair.check()


@pytest.mark.parametrize("through", ["nbd", "qemu", "qemu-io"])
def test_each_way_to_a_disk_shows_its_damage(making: Making, through: str) -> None:
    session, writer = making("reference")
    pair = writer(session.new_disk("512K"), through=through)
    pair.damage(5000, b"wrong")
    with pytest.raises(Differs, match="sector 9") as caught:
        pair.check()
    assert [mismatch.side for mismatch in caught.value.mismatches] == ["target"]


def test_requests_and_replies_of_megabytes_do_not_block_each_other(making: Making) -> None:
    session, writer = making("reference")
    for status in (False, True):
        pair = writer(session.new_disk("16M"), status=status)
        both = [("read", 0, 4 << 20), ("write", 4 << 20, 4 << 20)]
        pair.together(*both, ("read", 8 << 20, 4 << 20), ("write", 12 << 20, 4 << 20))
        pair.check()


def test_a_lost_connection_fails_what_is_in_flight_and_is_remade(making: Making) -> None:
    session, writer = making("reference")
    pair = writer(session.new_disk("512K"))
    side = pair.target
    assert isinstance(side, NbdSide)
    assert side._client is not None
    side._client.sock.shutdown(2)
    found = pair.together(("write", 0, 4096), ("read", 8192, 4096))
    assert {mismatch.damage for mismatch in found} == {"error"}
    assert "Connection reset by peer" in found[0].text
    assert not pair.ask("read", 65536, 4096)


def test_a_rule_that_never_fired_breaks_the_case(making: Making) -> None:
    session, writer = making("reference")
    writer(session.new_disk("512K"), rules=LOSE)
    with pytest.raises(CaseBroken, match="never fired: 1"):
        writer.close()


def test_starting_again_arms_the_rules_again_and_restores_the_disk(making: Making) -> None:
    session, writer = making("reference")
    pair = writer(session.new_disk("512K"), rules=LOSE)
    workload = [(Request(1, Kind.WRITE, 0, 4096),), (Request(2, Kind.READ, 0, 4096),)]
    assert pair.fails(workload)
    assert pair.fails(workload)
    assert not pair.fails(workload[1:])


def test_a_qemu_that_does_not_open_is_a_verdict(making: Making) -> None:
    session, _ = making("reference")
    verdict = verdict_of(lambda: session.qemu_io("/nonexistent"), [])
    assert verdict.what == "error"
    assert "nonexistent" in verdict.text


def test_a_raw_file_refuses_requests_beyond_its_end(making: Making) -> None:
    session, _ = making("reference")
    raw = RawFile(session.scratch / "raw", 1000)
    side = InOrder(raw)
    kinds = (Kind.READ, Kind.WRITE, Kind.ZERO, Kind.DISCARD, Kind.STATUS)
    batch = tuple(Request(n, kind, 990, 11) for n, kind in enumerate(kinds))
    side.start(batch, [b"x" * 11 if kind is Kind.WRITE else b"" for kind in kinds])
    assert all(outcome.error for outcome in side.finish())
    assert raw.read(0, 1000) == bytes(1000)
    raw.close()


@pytest.mark.parametrize("minimum", [512, 4096])
@pytest.mark.parametrize("through", ["nbd", "qemu", "qemu-io"])
def test_a_workload_keeps_to_the_minimum_block(making: Making, minimum: int, through: str) -> None:
    session, writer = making("reference")
    disk = session.new_disk("512K", min_block=minimum)
    pair = writer(disk, through=through)
    assert pair.minimum == (minimum if through == "nbd" else 1)
    pair.run(pair.workload(random.Random(3), 80, depth=4, longest=9000))
    pair.check()


def test_peek_and_damage_work_below_the_minimum_block(making: Making) -> None:
    session, writer = making("reference")
    pair = writer(session.new_disk("512K", min_block=4096))
    before = pair.peek(0, 16384)
    pair.damage(5000, b"wrong")
    assert pair.peek(4999, 7) == before[4999:5000] + b"wrong" + before[5005:5006]
    assert pair.peek(0, 16384) == before[:5000] + b"wrong" + before[5005:]


def test_a_pair_in_memory_needs_no_target_and_is_the_same_each_time(making: Making) -> None:
    _, writer = making("reference")
    first, again = (writer.in_memory("64K", rules=LOSE) for _ in range(2))
    for pair in (first, again):
        pair.ask("write", 8192, 1024)
        pair.verify()
    assert [str(one) for one in first.mismatches] == [str(one) for one in again.mismatches]
    found = first.must_find_one(first.mismatches, damage="never written", offset=8192, length=1024)
    assert found.last_write == "#1 write 8192+1024"


def test_an_unexpected_mismatch_is_named_with_what_was_expected(making: Making) -> None:
    _, writer = making("reference")
    pair = writer.in_memory("64K")
    with pytest.raises(AssertionError, match=r"expected one mismatch \(damage=stale\), found 0"):
        pair.must_find_one([], damage="stale")
    pair.damage(512, bytes(512))
    found = pair.verify()
    with pytest.raises(AssertionError, match="damage is 'zeroed', expected 'stale'"):
        pair.must_find_one(found, damage="stale")
    with pytest.raises(AssertionError, match=r"expected no mismatch, found 1:\n.*sector 1"):
        pair.must_find_none(found)
