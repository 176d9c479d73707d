"""Each mutant of splitting.py by its effect."""

from __future__ import annotations

import pytest

from blockio.errors import BlockError
from blockio.layers import Command
from tests.mutants.bench import BLOCK, KIB, MIB, UNIT, Bench
from tests.mutants.conftest import Serve


def test_a_page_is_assembled_wrongly() -> None:
    bench = Bench("chunk-receive-overwrites")
    data = bytes(number // 512 for number in range(96 * KIB))
    bench.write(2 * KIB, data)
    seen = bench.read(2 * KIB, len(data))
    assert seen[: UNIT - 2 * KIB] == data[: UNIT - 2 * KIB]
    assert seen[UNIT - 2 * KIB : UNIT] == data[UNIT : UNIT + 2 * KIB]
    assert seen[UNIT + 2 * KIB :] == data[UNIT + 2 * KIB :]


def test_the_bounce_buffer_is_too_small() -> None:
    bench = Bench("bounce-size-without-head", 64 * MIB)
    bench.read(0, 32 * MIB)
    with pytest.raises(BlockError):
        bench.read(512, 32 * MIB)


def test_large_blocks_are_copied_in_part(serve: Serve) -> None:
    with (
        serve("large-blocks-copied-in-part", "--min-block", "4096") as server,
        server.connect("v") as nbd,
    ):
        nbd.write(0, b"x" * BLOCK)
        assert bytes(nbd.read(0, BLOCK)) == b"x" * 512 + bytes(BLOCK - 512)


def test_a_small_write_overtakes_a_large_one(serve: Serve) -> None:
    with serve("deferred-write-overtaken") as server, server.connect("v") as nbd:
        nbd.write(0, b"a" * UNIT)
        nbd.write(512, b"b" * 512)
        assert bytes(nbd.read(0, UNIT)) == b"a" * UNIT
        nbd.write(512, b"b" * 512)
        assert bytes(nbd.read(512, 512)) == b"b" * 512


def test_the_last_segment_is_lost() -> None:
    bench = Bench("vectored-tail-dropped", 8 * MIB)
    bench.write(512, b"x" * (5 * MIB))
    assert bench.read(5 * MIB - 1, 513) == b"x" + bytes(512)


def test_a_write_ends_at_a_boundary() -> None:
    bench = Bench("short-write-not-continued", 3 << 30)
    bench.write((1 << 30) - 512, b"x" * 1024)
    assert bench.read((1 << 30) - 512, 1024) == b"x" * 512 + bytes(512)
    bench.write(2 * MIB, b"y" * 1024)
    assert bench.read(2 * MIB, 1024) == b"y" * 1024


def test_a_read_ends_with_old_bytes() -> None:
    bench = Bench("short-read-keeps-buffer")
    bench.write(MIB, b"x" * UNIT * 2)
    bench.read(MIB, UNIT * 2)
    assert bench.read(4 * MIB - 2 * UNIT, 2 * UNIT)[-BLOCK:] == b"x" * BLOCK


def test_partial_writes_restore_an_old_block() -> None:
    bench = Bench("rmw-edge-cache-stale")
    bench.write(0, b"a" * 512)
    bench.write(512, b"a" * 512)
    bench.write(0, b"b" * BLOCK)
    bench.write(1024, b"c" * 512)
    assert bench.read(0, 2048) == b"a" * 1024 + b"c" * 512 + bytes(512)


@pytest.mark.parametrize("mutant", ["shared-position-read", "parity-buffer-shared"])
def test_requests_at_the_same_time_are_confused(serve: Serve, mutant: str) -> None:
    wrong = 0
    with serve(mutant) as server, server.connect("v") as one, server.connect("v") as two:
        for turn in range(100):
            if mutant == "parity-buffer-shared":
                cookies = [nbd.send_request(Command.WRITE, at, 512, payload=byte * 512)
                           for nbd, at, byte in ((one, 0, b"a"), (two, 8192, b"b"))]  # fmt: skip
                for nbd, cookie in zip((one, two), cookies, strict=True):
                    nbd.receive_reply(cookie)
                wrong += bytes(one.read(0, 1)) != b"a" or bytes(one.read(8192, 1)) != b"b"
            else:
                one.write(0, b"a" * 512 if turn == 0 else b"a")
                cookies = [nbd.send_request(Command.READ, at, 512)
                           for nbd, at in ((one, 0), (two, 8192))]  # fmt: skip
                replies = [nbd.receive_reply(cookie)
                           for nbd, cookie in zip((one, two), cookies, strict=True)]  # fmt: skip
                wrong += [bytes(reply.data)[:1] for reply in replies] != [b"a", b"\0"]
    assert wrong
