"""Each mutant of journals.py, by the data after a power cut."""

from __future__ import annotations

from collections.abc import Callable

from reference_backend.client import Client
from tests.mutants.conftest import Serve, control, cut

KIB, MIB = 1 << 10, 1 << 20


def after_cut(serve: Serve, mutant: str, act: Callable[[Client], None], length: int) -> bytes:
    with serve(mutant) as server:
        with server.connect("v") as nbd:
            act(nbd)
            cut(server, 1)
        with server.connect("v") as nbd:
            return bytes(nbd.read(0, length))


def test_changes_are_replayed_by_offset(serve: Serve) -> None:
    def act(nbd: Client) -> None:
        nbd.write(512, b"o" * 1024)
        nbd.write(0, b"n" * 1024)
        nbd.flush()

    assert after_cut(serve, "replay-in-offset-order", act, 1536) == b"n" * 512 + b"o" * 1024


def test_writes_are_replayed_over_zeroes(serve: Serve) -> None:
    def act(nbd: Client) -> None:
        nbd.write(0, b"x" * 1024)
        nbd.flush()
        nbd.write_zeroes(0, 1024)
        nbd.flush()

    assert after_cut(serve, "journal-misses-zeroes", act, 1024) == b"x" * 1024


def test_the_oldest_changes_stay_volatile(serve: Serve) -> None:
    def act(count: int) -> Callable[[Client], None]:
        def write(nbd: Client) -> None:
            for number in range(count):
                nbd.write(number * 512, b"x" * 512)
            nbd.flush()

        return write

    assert b"\0" in after_cut(serve, "log-wraps-over-unflushed", act(100), 36 * 512)
    assert b"\0" not in after_cut(serve, "log-wraps-over-unflushed", act(64), 64 * 512)


def test_a_growth_is_taken_back(serve: Serve) -> None:
    with serve("grow-not-durable") as server:
        control(server, "volume-resize", name="v", size=6 * MIB)
        with server.connect("v") as nbd:
            nbd.flush()
        cut(server, 1)
        with server.connect("v") as nbd:
            assert nbd.size == 4 * MIB


def test_the_first_flush_after_a_power_cut_does_nothing(serve: Serve) -> None:
    lost = 0
    with serve("flush-after-recovery-skipped") as server:
        for seed in range(8):
            with server.connect("v") as nbd:
                nbd.write(0, bytes([seed + 1]) * 512)
                nbd.flush()
                cut(server, seed)
            with server.connect("v") as nbd:
                lost += nbd.read(0, 1)[0] != seed + 1
    assert lost


def test_discards_are_replayed_over_writes(serve: Serve) -> None:
    def act(nbd: Client) -> None:
        nbd.write_zeroes(0, 1024)
        nbd.flush()
        nbd.write(0, b"x" * 512)
        nbd.flush()

    assert after_cut(serve, "discards-replayed-over-writes", act, 512) == bytes(512)
