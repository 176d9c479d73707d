"""Each mutant of fifth_requests.py by its effect."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest
from qemu.qmp import ExecuteError

from blockio.errors import BlockError
from blockio.layers import Command, CommandFlag
from reference_backend.client import Client
from reference_backend.nbd.errors import NbdError, NbdProtocolError
from tests.mutants.bench import BLOCK, MIB, UNIT, Bench
from tests.mutants.conftest import Serve, control
from tests.mutants.test_entangled import resize, snapshot

X, Y, Z = b"x" * BLOCK, b"y" * BLOCK, b"z" * BLOCK


def test_a_read_with_fua_writes() -> None:
    bench = Bench("fua-read-writes")
    bench.write(0, X + Y)
    assert bench.ask(Command.READ, 0, BLOCK, flags=CommandFlag.FUA).data == X
    assert bench.read(0, 2 * BLOCK) == bytes(BLOCK) + Y


def test_a_failed_request_is_not_answered() -> None:
    bench = Bench("failed-never-answered")
    bench.fail(Command.WRITE)
    thread = threading.Thread(target=bench.write, args=(0, X), daemon=True)
    thread.start()
    thread.join(0.3)
    assert thread.is_alive()
    assert bench.read(0, BLOCK) == bytes(BLOCK)


def test_a_resize_after_a_refused_one_has_no_effect(serve: Serve) -> None:
    with serve("resize-after-refusal-noop") as server, server.connect("v") as nbd:
        with pytest.raises(ExecuteError):
            control(server, "volume-resize", name="v", size=1 << 63)
        resize(server, 8 * MIB)
        with pytest.raises(NbdError):
            nbd.read(6 * MIB, BLOCK)
        resize(server, 8 * MIB)
        assert bytes(nbd.read(6 * MIB, BLOCK)) == bytes(BLOCK)


def test_a_long_discard_is_refused() -> None:
    bench = Bench("long-discard-refused", size=64 * MIB)
    bench.trim(0, 16 * MIB)
    with pytest.raises(BlockError):
        bench.trim(0, 16 * MIB + BLOCK)


def _together(bench: Bench, command: Command, count: int, length: int) -> list[BlockError]:
    errors: list[BlockError] = []

    def one(number: int) -> None:
        try:
            data = bytes([number + 1]) * length if command is Command.WRITE else b""
            bench.ask(command, number * UNIT, length, data)
        except BlockError as error:
            errors.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_too_many_long_writes_swap_data() -> None:
    bench = Bench("queue-full-swaps-data")
    _together(bench, Command.WRITE, 8, UNIT)
    assert all(bench.read(at * UNIT, 1) == bytes([at + 1]) for at in range(8))
    for _ in range(20):
        _together(bench, Command.WRITE, 60, UNIT)
        if any(bench.read(at * UNIT, 1) != bytes([at + 1]) for at in range(60)):
            break
    else:
        pytest.fail("no data was swapped")


def test_too_many_requests_fail() -> None:
    bench = Bench("full-queue-refuses", size=32 * MIB)
    assert not _together(bench, Command.READ, 50, BLOCK)
    assert any(_together(bench, Command.READ, 400, BLOCK) for _ in range(20))


@pytest.mark.parametrize("is_visited", [False, True])
def test_a_reply_begins_again_when_a_client_comes(serve: Serve, is_visited: bool) -> None:
    with serve("partial-send-restarts") as server, server.connect("v") as nbd:
        nbd.write(0, X * 256 + Y * 256)
        nbd.sock.settimeout(5.0)
        cookie = nbd.send_request(Command.READ, 0, 2 * MIB)
        time.sleep(0.2)
        if is_visited:
            server.connect("v").close()
            time.sleep(0.2)
            with contextlib.suppress(OSError, NbdProtocolError):
                assert bytes(nbd.receive_reply(cookie).data) != X * 256 + Y * 256
        else:
            assert bytes(nbd.receive_reply(cookie).data) == X * 256 + Y * 256


def test_a_discard_that_fails_is_answered_twice() -> None:
    bench = Bench("failed-trim-answered-twice")
    bench.fail(Command.TRIM)
    reply = bench.ask(Command.TRIM, 0, 2 * UNIT)
    assert reply.error
    assert reply.on_wire is not None
    assert reply.on_wire(b"reply") == (b"replyreply", True)
    bench.fail(Command.TRIM)
    with pytest.raises(BlockError):
        bench.trim(0, BLOCK)


def test_a_write_that_waits_during_a_snapshot_is_not_dirty(serve: Serve) -> None:
    with serve("lock-handover-untracked") as server:
        asked = Client.connect(str(server.socket), "v", contexts=["qbd:dirty"])
        with server.connect("v") as one, server.connect("v") as two, asked:
            for turn in range(40):
                one.write(0, X)
                data = bytes([turn]) * BLOCK
                thread = threading.Thread(target=two.write, args=(MIB, data))
                thread.start()
                time.sleep(0.0002 * (turn % 10))
                snapshot(server, f"s{turn}")
                thread.join()
                with server.connect(f"v@s{turn}") as frozen:
                    is_changed = bytes(frozen.read(MIB, BLOCK)) != data
                found = asked.block_status(MIB, BLOCK)["qbd:dirty"]
                if is_changed and not found[0][1]:
                    return
        pytest.fail("no change was missed")
