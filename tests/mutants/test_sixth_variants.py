"""Each mutant of sixth_variants.py by its effect."""

from __future__ import annotations

from blockio.layers import Command
from tests.mutants.bench import BLOCK, MIB, UNIT, Bench
from tests.mutants.conftest import Clock, Serve
from tests.mutants.test_entangled import clone, snapshot, write
from tests.mutants.test_sixth_requests import X, Y, Z, happens, send


def test_a_first_write_undoes_zeroes_of_another_object(serve: Serve) -> None:
    with serve("clone-zeroes-race") as server:
        write(server, "v", 0, X * 512)
        snapshot(server, "s")
        numbers = iter(range(1000))

        def turn() -> bool:
            name = f"c{next(numbers)}"
            clone(server, "v@s", name)
            with server.connect(name) as nbd:
                sent = [
                    send(nbd, 0, Y),
                    nbd.send_request(Command.WRITE_ZEROES, MIB, MIB),
                ]
                for cookie in sent:
                    nbd.receive_reply(cookie)
                assert bytes(nbd.read(0, BLOCK)) == Y
                return bytes(nbd.read(MIB, BLOCK)) == X

        assert happens(turn)


def test_a_long_read_is_cached_by_the_next_flush(serve: Serve) -> None:
    with serve("long-reads-cached-at-flush") as server, server.connect("v") as nbd:
        nbd.write(0, X * 16)
        nbd.read(0, UNIT)
        nbd.write(BLOCK, Y)
        assert bytes(nbd.read(BLOCK, BLOCK)) == Y
        nbd.flush()
        assert bytes(nbd.read(BLOCK, BLOCK)) == X
        assert bytes(nbd.read(0, UNIT)) == X + Y + X * 14
        nbd.write(BLOCK, Z)
        assert bytes(nbd.read(BLOCK, BLOCK)) == Z


def test_reads_after_a_pause_share_a_buffer(clock: Clock) -> None:
    bench = Bench("woken-reads-share-buffer")
    bench.volume.write(0, X)
    bench.volume.write(UNIT, Y)
    clock.advance(0.31)
    assert bytes(bench.ask(Command.READ, 0, BLOCK).data) == X
    assert bytes(bench.ask(Command.READ, UNIT, BLOCK).data) == X
    clock.advance(0.02)
    assert bytes(bench.ask(Command.READ, UNIT, BLOCK).data) == Y
