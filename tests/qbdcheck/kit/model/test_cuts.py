"""The write of each sector of a snapshot: a write, the initial data, or zeroes that are wrong."""

from __future__ import annotations

import pytest

from oracles.consistent_cut import ZEROES
from oracles.linearizability import INITIAL
from oracles.numbered_sectors import Mixed
from oracles.stamps import SECTOR
from qbdcheck.errors import CaseBroken
from qbdcheck.kit.model.checks import ModelChecks
from qbdcheck.kit.model.concurrent import History, Plan, Torn, initial
from qbdcheck.kit.model.cuts import Camera
from qbdcheck.seed import Seed
from tests.qbdcheck.targets.conftest import Opener

PLAN = Plan(size=4 * SECTOR, requests=20, lengths=(1,), share=1.0)


def _sector(number: int) -> bytes:
    return (0x71626468 << 32 | number).to_bytes(8, "little") * 64


def test_values_of_sectors(open_target: Opener) -> None:
    session = open_target("reference")
    camera = Camera(session.new_disk("64K", prefill=False), PLAN, 1, session.nbd)
    assert camera.fresh == 2 * SECTOR
    data = bytes(SECTOR) + _sector(7) + bytes(SECTOR) + initial(SECTOR)
    assert camera.values(data, [], 1, 2) == [ZEROES, 7, INITIAL, INITIAL]
    mixed: list[Mixed] = []
    torn = _sector(7)[:256] + _sector(8)[:256]
    assert camera.values(torn + data[SECTOR:], mixed, 1, 2)[0] is None
    assert mixed == [Mixed(0, (7, 8), 1, 2)]
    with pytest.raises(Torn, match="sector 3: holds data that was never written"):
        camera.values(data[: 3 * SECTOR] + b"x" * SECTOR, [], 1, 2)


def test_snapshots_without_load_prove_nothing(open_target: Opener) -> None:
    session = open_target("reference")
    camera = Camera(session.new_disk("64K", prefill=False), PLAN, 2, session.nbd)
    camera.prepare()
    camera.meanwhile(lambda _: None)
    with pytest.raises(CaseBroken, match="no snapshot was taken while clients wrote"):
        camera.judge(History())


def test_clients_go_on_until_all_snapshots_are_taken(open_target: Opener) -> None:
    session = open_target("reference")
    checks = ModelChecks(session, Seed(1), lambda *_: None)
    disk = session.new_disk("1M", prefill=False)
    plan = Plan(size=1 << 20, requests=20, lengths=(8,), share=1.0)
    camera = checks.record_with_snapshots(disk, 3, plan, 0, count=2)
    assert [one.snapshot.name for one in camera.taken] == ["disk@cut0", "disk@cut1"]
