"""Each control is unusual as described, and keeps data right."""

from __future__ import annotations

import pytest

from blockio.layers import Command
from mutants.catalogue import catalogue, is_control
from reference_backend.nbd.errors import NbdError
from tests.mutants.conftest import Serve, control

CONTROLS = [one for one, mutant in catalogue().items() if is_control(mutant)]
MIB = 1 << 20


@pytest.mark.parametrize("mutant", CONTROLS)
def test_data_is_right_on_a_control(serve: Serve, mutant: str) -> None:
    with serve(mutant) as server, server.connect("v") as nbd:
        unit = max(4096, nbd.block_sizes[0] if nbd.block_sizes else 1)
        nbd.write(0, b"x" * MIB)
        nbd.write_zeroes(unit, unit)
        nbd.trim(2 * unit, unit)
        nbd.flush()
        data = bytes(nbd.read(0, MIB))
        assert data[:unit] == b"x" * unit
        assert data[unit : 2 * unit] == bytes(unit)
        old_or_zero = [bytes(unit), b"x" * unit]
        waived = [b"\xff" * unit] * (mutant == "control-discard-ff")
        assert data[2 * unit : 3 * unit] in old_or_zero + waived
        assert data[3 * unit :] == b"x" * (MIB - 3 * unit)


@pytest.mark.parametrize("mutant", ["control-clones-copied-later", "control-slow-snapshots"])
def test_clones_and_snapshots_of_a_control_are_right(serve: Serve, mutant: str) -> None:
    with serve(mutant) as server, server.connect("v") as nbd:
        nbd.write(0, b"x" * MIB)
        control(server, "volume-snapshot", name="v", snapshot="s")
        nbd.write(0, b"y" * MIB)
        control(server, "volume-clone", snapshot="v@s", name="c")
        with server.connect("c") as clone:
            clone.write(70000, b"c" * 5000)
            clone.trim(MIB - 4096, 4096)
            expected = b"x" * 70000 + b"c" * 5000 + b"x" * (MIB - 79096) + bytes(4096)
            assert bytes(clone.read(0, MIB)) == expected
            control(server, "volume-snapshot", name="c", snapshot="s")
            assert bytes(clone.read(0, MIB)) == expected
        with server.connect("c@s") as copied:
            assert bytes(copied.read(0, MIB)) == expected


def test_controls_are_unusual_as_described(serve: Serve) -> None:
    with serve("control-discard-noop") as server, server.connect("v") as nbd:
        nbd.write(0, b"x" * 4096)
        nbd.trim(0, 4096)
        assert bytes(nbd.read(0, 4096)) == b"x" * 4096
    with serve("control-short-extents") as server, server.connect("v") as nbd:
        assert [one.length for one in nbd.block_status(0, MIB)["base:allocation"]] == [MIB // 4]
    with serve("control-no-holes") as server, server.connect("v") as nbd:
        assert nbd.block_status(0, MIB)["base:allocation"][0].flags == 0


def test_replies_overtake_each_other_on_one_connection(serve: Serve) -> None:
    with serve("control-reorders") as server, server.connect("v") as nbd:

        def turn() -> bool:
            sent = [nbd.send_request(Command.READ, number * 4096, 4096) for number in range(30)]
            got = [nbd.receive_reply().cookie for _ in sent]
            assert sorted(got) == sent
            return got != sent

        assert any(turn() for _ in range(50))  # whether requests meet is chance


def test_a_power_cut_tears_unflushed_writes(serve: Serve) -> None:
    with serve("control-torn-writes") as server:
        with server.connect("v") as nbd:
            nbd.write(0, b"x" * 4096)
            nbd.flush()
            nbd.write(0, b"y" * 4096)
            control(server, "power-cut", seed=1)
        with server.connect("v") as nbd:
            kept = [bytes(nbd.read(at, 512)) for at in range(0, 4096, 512)]
        assert kept in ([b"x" * 512, b"y" * 512] * 4, [b"y" * 512, b"x" * 512] * 4)


def test_the_limit_is_advertised_and_enforced(serve: Serve) -> None:
    with serve("control-tiny-requests") as server, server.connect("v") as nbd:
        assert nbd.longest == 65536
        with pytest.raises(NbdError, match="over the maximum"):
            nbd.call(Command.READ, 0, 65536 + 1)
        nbd.write(4096, b"x" * 200_000)
        assert nbd.read(0, 300_000) == bytes(4096) + b"x" * 200_000 + bytes(95_904)


@pytest.mark.parametrize(
    ("control", "sizes"),
    [
        ("control-large-blocks", (4096, 4096, 32 << 20)),
        ("control-minimum-64k", (65536, 65536, 32 << 20)),
        ("control-one-block-size", (65536, 65536, 65536)),
    ],
)
def test_the_minimum_is_advertised_and_enforced(
    serve: Serve, control: str, sizes: tuple[int, int, int]
) -> None:
    with serve(control) as server, server.connect("v") as nbd:
        assert nbd.block_sizes == sizes
        for command in (Command.READ, Command.WRITE):
            with pytest.raises(NbdError, match=f"not aligned to {sizes[0]} bytes"):
                nbd.call(command, 512, 4096, payload=bytes(4096 * (command == Command.WRITE)))


def test_a_control_accepts_all_knobs() -> None:
    for control_ in CONTROLS:
        catalogue()[control_].knobs_of({"rate": "1000", "scope": "write"})
