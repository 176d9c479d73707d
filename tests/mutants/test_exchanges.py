"""Each mutant of exchanges.py by its effect."""

from __future__ import annotations

import errno
import threading
import time

import pytest

from blockio.errors import BlockError
from blockio.layers import Command
from tests.mutants.bench import BLOCK, MIB, UNIT, Bench
from tests.mutants.conftest import Serve


def test_replies_share_a_buffer(serve: Serve) -> None:
    with serve("read-buffer-shared") as server, server.connect("v") as nbd:
        nbd.write(0, b"a" * UNIT)
        nbd.write(MIB, b"b" * UNIT)
        wrong = 0
        for _ in range(50):
            cookies = [nbd.send_request(Command.READ, at, 32768) for at in (0, MIB)]
            replies = [bytes(nbd.receive_reply(cookie).data)[:1] for cookie in cookies]
            wrong += replies != [b"a", b"b"]
        assert wrong


def test_a_cookie_brings_an_old_reply() -> None:
    bench = Bench("reply-cache-by-cookie")
    bench.read(0, BLOCK, cookie=7)
    bench.write(0, b"x" * BLOCK)
    assert bench.read(0, BLOCK, cookie=8) == b"x" * BLOCK
    assert bench.read(0, BLOCK, cookie=7) == bytes(BLOCK)
    assert bench.read(0, BLOCK, cookie=7, connection=2) == b"x" * BLOCK


def test_a_failed_write_is_done_later() -> None:
    bench = Bench("failed-write-done-later")
    bench.fail(Command.WRITE)
    with pytest.raises(BlockError):
        bench.write(0, b"a" * 512)
    bench.write(0, b"b" * 512)
    assert bench.read(0, 1) == b"b"
    assert bench.read(0, 1) == b"a"


def test_an_error_is_repeated() -> None:
    bench = Bench("error-of-previous-request")
    bench.fail(Command.WRITE, errno.ENOSPC)
    with pytest.raises(BlockError):
        bench.write(0, b"a" * 512)
    bench.read(0, 1)
    with pytest.raises(BlockError) as caught:
        bench.read(0, 1)
    assert caught.value.errno == errno.ENOSPC
    bench.read(0, 1)


def test_a_client_that_leaves_ends_others(serve: Serve) -> None:
    with serve("close-ends-others") as server, server.connect("v") as one:
        one.read(0, 1)
        with server.connect("v") as two:
            two.read(0, 1)
        with pytest.raises(ConnectionError):
            for _ in range(1000):  # until the server has ended the other connection
                one.read(0, 1)
                time.sleep(0.01)


def test_a_request_after_a_pause_is_not_answered() -> None:
    bench = Bench("completion-without-wakeup")
    bench.read(0, 1)
    bench.read(0, 1)
    bench.mutant._last_seen_s -= 2  # type: ignore[attr-defined]  # a pause of two seconds
    waiter = threading.Thread(target=bench.read, args=(0, 1), daemon=True)
    waiter.start()
    waiter.join(0.2)
    assert waiter.is_alive()
