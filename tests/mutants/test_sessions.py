"""Each mutant of sessions.py by its effect."""

from __future__ import annotations

import errno
import time
from pathlib import Path

import psutil
import pytest

from blockio.errors import BlockError
from blockio.layers import Command, CommandFlag
from reference_backend.client import Client
from reference_backend.nbd import client_replies as wire
from reference_backend.nbd.errors import NbdError, NbdProtocolError
from tests.mutants.bench import BLOCK, KIB, UNIT, Bench
from tests.mutants.conftest import Serve, control, cut, remove


def test_disc_overtakes_writes(serve: Serve) -> None:
    with serve("disconnect-drops-outstanding") as server:
        with server.connect("v") as nbd:
            nbd.write(0, b"a" * BLOCK)
            writes = b"".join(_request(nbd, Command.WRITE, at, b"b" * BLOCK) for at in (0, UNIT))
            nbd.sock.sendall(writes + _request(nbd, Command.DISC))
            while nbd.sock.recv(4096):
                pass
        with server.connect("v") as nbd:
            assert nbd.read(0, 1) == b"a" and nbd.read(UNIT, 1) == bytes(1)


def _request(nbd: Client, command: Command, offset: int = 0, data: bytes = b"") -> bytes:
    return wire.request(nbd.mode, 0, command, 1, offset, len(data)) + data


def test_only_an_abrupt_end_loses_the_last_write(serve: Serve) -> None:
    with serve("abrupt-end-drops-write") as server:
        for ending, expected in (("orderly", b"b"), ("abrupt", b"a")):
            with server.connect("v") as nbd:
                nbd.write(0, b"a" * BLOCK)
                nbd.flush()
                nbd.write(0, b"b" * BLOCK)
                if ending == "abrupt":
                    nbd.sock.close()
            with server.connect("v") as other:
                _wait_for(other, expected)


def _wait_for(nbd: Client, expected: bytes) -> None:
    """Wait until the server has ended the other connection."""
    for _ in range(500):
        if nbd.read(0, 1) == expected:
            return
        time.sleep(0.01)
    raise AssertionError(nbd.read(0, 1))


def test_contexts_of_the_first_selection_stay(serve: Serve) -> None:
    with serve("contexts-accumulate") as server, Client.open_socket(str(server.socket)) as nbd:
        nbd.opt_structured_reply()
        nbd.opt_set_meta_context("v", ["base:allocation"])
        nbd.opt_set_meta_context("v", [])
        nbd.opt_go("v")
        with pytest.raises(NbdProtocolError):
            nbd.block_status(0, BLOCK)


def test_the_last_part_decides() -> None:
    bench = Bench("split-status-of-last-part")
    bench.fail(Command.WRITE)
    bench.write(UNIT - BLOCK, b"x" * 2 * BLOCK)
    assert bench.read(UNIT - BLOCK, 2 * BLOCK) == bytes(BLOCK) + b"x" * BLOCK
    bench.fail(Command.WRITE)
    with pytest.raises(BlockError) as caught:
        bench.write(0, b"x" * BLOCK)
    assert caught.value.errno == errno.EIO


def test_a_slow_write_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench("slow-write-done-again")
    times = iter((0.0, 0.6))
    with monkeypatch.context() as patched:
        patched.setattr("mutants.clock.now_s", lambda: next(times))
        bench.write(0, b"a" * BLOCK)
    bench.write(0, b"b" * BLOCK)
    assert bench.read(0, 1) == b"b"
    limit = time.monotonic() + 20
    while bench.read(0, 1) != b"a":
        assert time.monotonic() < limit
        time.sleep(0.02)


def test_the_tag_wraps() -> None:
    bench = Bench("tag-wraps")
    for _ in range((1 << 16) - 1):
        bench.flush()
    bench.write(0, b"a" * BLOCK)
    bench.write(0, b"b" * BLOCK)
    assert bench.read(0, 1) == b"a"
    bench.write(0, b"c" * BLOCK, connection=2)
    assert bench.read(0, 1, connection=2) == b"c"


def test_a_block_of_ones_is_erased() -> None:
    bench = Bench("all-ones-is-erased")
    bench.write(512, b"\xff" * 2 * BLOCK)
    assert bench.read(0, 3 * BLOCK).count(b"\xff") == BLOCK
    assert bench.read(BLOCK, BLOCK) == bytes(BLOCK)


def test_a_name_brings_the_removed_snapshot(serve: Serve) -> None:
    with serve("snapshot-by-name-kept") as server:
        for letter in (b"a", b"b"):
            with server.connect("v") as nbd:
                nbd.write(0, letter * BLOCK)
            control(server, "volume-snapshot", name="v", snapshot="s")
            with server.connect("v@s") as nbd:
                assert nbd.read(0, 1) == b"a"
            remove(server, "v@s")


def test_the_cookie_is_cut(serve: Serve) -> None:
    with serve("cookie-cut-to-32-bits") as server, server.connect("v") as nbd:
        cookie = nbd.send_request(Command.READ, 0, 512, cookie=7)
        assert nbd.receive_reply(cookie).cookie == 7
        nbd.send_request(Command.READ, 0, 512, cookie=(5 << 32) + 9)
        with pytest.raises(NbdProtocolError, match="cookie"):
            nbd.receive_reply()


def test_each_client_leaves_a_file(serve: Serve) -> None:
    with serve("descriptor-leak") as server:
        files = Path(f"/proc/{server.process.pid}/fd")
        before = len(list(files.iterdir()))
        for _ in range(5):
            with server.connect("v") as nbd:
                nbd.read(0, 1)
        limit = time.monotonic() + 20
        while len(list(files.iterdir())) != before + 5:
            assert time.monotonic() < limit
            time.sleep(0.02)


def test_a_client_that_reads_nothing_holds_up_the_others(serve: Serve) -> None:
    with (
        serve("reply-sent-under-lock") as server,
        server.connect("v") as deaf,
        server.connect("v") as other,
    ):
        other.write(0, b"a" * (1024 * KIB))
        asked = [deaf.send_request(Command.READ, 0, 1024 * KIB) for _ in range(16)]
        other.sock.settimeout(0.5)
        with pytest.raises(TimeoutError):
            for _ in range(10_000):  # until the server waits in the middle of a reply
                other.read(0, 1)
        for cookie in asked:
            assert not deaf.receive_reply(cookie).error


def test_a_flush_writes_over_fua() -> None:
    bench = Bench("fua-destaged-over")
    bench.write(0, b"a" * BLOCK)
    bench.write(0, b"b" * BLOCK, flags=CommandFlag.FUA)
    assert bench.read(0, 1) == b"b"
    bench.flush()
    assert bench.read(0, 1) == b"a"
    bench.write(4 * KIB, b"c" * BLOCK)
    bench.flush()
    assert bench.read(4 * KIB, 1) == b"c"


def test_a_resize_hides_a_flush(serve: Serve) -> None:
    with serve("flush-after-resize-skipped") as server:
        with server.connect("v") as nbd:
            nbd.flush()
            control(server, "volume-resize", name="v", size=8 << 20)
            for at in range(0, 2 << 20, UNIT):
                nbd.write(at, b"a" * BLOCK)
            nbd.flush()
        cut(server, seed=1)
        with server.connect("v") as nbd:
            kept = [nbd.read(at, 1) for at in range(0, 2 << 20, UNIT)]
        assert b"\0" in kept


def test_each_refused_write_leaves_a_file(serve: Serve) -> None:
    with serve("refusal-leaks-descriptor") as server, server.connect("v") as nbd:
        files = Path(f"/proc/{server.process.pid}/fd")
        nbd.read(0, 1)
        before = len(list(files.iterdir()))
        for _ in range(5):
            with pytest.raises(NbdError):
                nbd.write(nbd.size, b"a" * 512)
        assert len(list(files.iterdir())) == before + 5


def test_a_client_that_leaves_within_a_refused_payload_leaves_a_busy_thread(serve: Serve) -> None:
    with serve("cut-payload-spins") as server:
        process = psutil.Process(server.process.pid)
        nbd = server.connect("v")
        nbd.send_request(Command.WRITE, nbd.size, 4096, payload=b"cut")
        nbd.receive_reply()
        nbd.sock.close()
        limit, before = time.monotonic() + 20, sum(process.cpu_times()[:2])
        while sum(process.cpu_times()[:2]) < before + 0.5:
            assert time.monotonic() < limit
            time.sleep(0.05)
