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


def test_a_lost_connection_fails_what_is_in_flight_and_is_made_anew(making: Making) -> None:
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


def test_a_qemu_that_does_not_open_is_a_verdict_too(making: Making) -> None:
    session, _ = making("reference")
    verdict = verdict_of(lambda: session.qemu_io("/nonexistent"), [])
    assert verdict.what == "error"
    assert "nonexistent" in verdict.text


def test_a_raw_file_refuses_what_is_beyond_its_end(making: Making) -> None:
    session, _ = making("reference")
    raw = RawFile(session.scratch / "raw", 1000)
    side = InOrder(raw)
    kinds = (Kind.READ, Kind.WRITE, Kind.ZERO, Kind.DISCARD, Kind.STATUS)
    batch = tuple(Request(n, kind, 990, 11) for n, kind in enumerate(kinds))
    side.start(batch, [b"x" * 11 if kind is Kind.WRITE else b"" for kind in kinds])
    assert all(outcome.error for outcome in side.finish())
    assert raw.read(0, 1000) == bytes(1000)
    raw.close()
