"""Each mutant of recovery.py, by the data after a power cut."""

from __future__ import annotations

import time

import pytest

from blockio.layers import Command, CommandFlag
from reference_backend.nbd.constants import TransmissionFlag
from tests.mutants.conftest import Serve, cut

BLOCK, UNIT, MIB = 4096, 65536, 1 << 20


def test_flush_not_advertised(serve: Serve) -> None:
    with serve("flush-not-advertised") as server, server.connect("v") as nbd:
        assert not nbd.flags & (TransmissionFlag.SEND_FLUSH | TransmissionFlag.SEND_FUA)


def test_flush_skip_generation_race(serve: Serve) -> None:
    with serve("flush-skip-generation-race") as server:
        lost = 0
        for seed in range(8):
            with server.connect("v") as one, server.connect("v") as other:
                one.write(0, b"o" * BLOCK, CommandFlag.FUA)
                one.write(BLOCK, b"x" * 512)
                flush = other.send_request(Command.FLUSH)
                time.sleep(0.005)  # it is with the device now, for 20 ms
                one.write(0, b"n" * BLOCK)
                other.receive_reply(flush)
                one.flush()
                cut(server, seed)
            with server.connect("v") as nbd:
                lost += bytes(nbd.read(0, BLOCK)) != b"n" * BLOCK
        assert lost


def test_destage_reorder_and_torn_write(serve: Serve) -> None:
    for mutant, flushed in (("destage-reorder", True), ("torn-write", False)):
        seen = set()
        with serve(mutant) as server:
            for seed in range(12):
                with server.connect("v") as nbd:
                    nbd.write(0, b"o" * BLOCK, CommandFlag.FUA)
                    nbd.write(MIB, b"x" * 512)
                    nbd.write(0, b"n" * BLOCK)
                    if flushed:
                        nbd.flush()
                    cut(server, seed)
                with server.connect("v") as nbd:
                    data = bytes(nbd.read(0, BLOCK))
                    seen |= {data[at : at + 512] for at in range(0, BLOCK, 512)}
        sound = {b"n" * 512} if flushed else {b"o" * 512, b"n" * 512}
        assert seen - sound, mutant


def test_journal_slot_overlap(serve: Serve) -> None:
    with serve("journal-slot-overlap") as server:
        seen = set()
        for seed in range(8):
            with server.connect("v") as nbd:
                nbd.write(0, b"a" * BLOCK + b"b" * BLOCK + b"c" * BLOCK, CommandFlag.FUA)
                nbd.write_zeroes(0, 3 * BLOCK)
                cut(server, seed)
            with server.connect("v") as nbd:
                seen.add(bytes(nbd.read(BLOCK, 1)))
        assert seen - {b"\0", b"b"}


def test_map_entry_shifted(serve: Serve) -> None:
    with serve("map-entry-shifted") as server:
        with server.connect("v") as nbd:
            nbd.write(0, b"a" * BLOCK)
            nbd.write(BLOCK, b"b" * BLOCK)
        with server.connect("v") as nbd:
            for _ in range(100):
                if bytes(nbd.read(BLOCK, BLOCK)) == b"a" * BLOCK:
                    break
            else:
                pytest.fail("the map is right")
