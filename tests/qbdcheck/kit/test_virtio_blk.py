"""What cases of vhost-user-blk say about a request of a ring."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from threading import Event
from types import SimpleNamespace
from typing import Any, cast

import pytest

from oracles.damage import Damage
from oracles.shadow import Shadow
from oracles.stamps import Identity
from qbdcheck.kit import virtio_blk
from qbdcheck.kit.request_errors import RequestHangs, RequestLost
from qbdcheck.kit.virtio_blk import (
    FrontEnd,
    MessageError,
    Ring,
    VirtioBlk,
    judge,
    named,
    polled,
    wait_used,
)
from qbdcheck.kit.virtio_reads import Reads, told
from qbdcheck.programs.requests_sent import OK, forget, last_requests
from qbdcheck.targets.disk_io import WrongData
from reference_backend.memory_pool import MemoryPool
from reference_backend.vhost_user.back_end import BackEnd


def test_wrong_data_names_the_read_and_its_buffers() -> None:
    shadow = Shadow(4096, Identity(1, 1))
    shadow.write(0, shadow.stamped(0, 1024))
    with pytest.raises(WrongData) as caught:
        judge(shadow, 0, bytes(1024), "a read of 1024 bytes at 0, with 2 regions of memory")
    finding = caught.value.findings[0]
    assert finding.damage is Damage.ZEROED
    assert finding.line.startswith("a read of 1024 bytes at 0, with 2 regions of memory: offset 0")


def _ended() -> int:
    """Return the number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize(
    ("pid", "state"),
    [(os.getpid, "its process still runs"), (_ended, "its process has ended")],
)
def test_the_end_of_a_connection_says_what_came_before_and_if_the_daemon_runs(
    pid: Callable[[], int], state: str
) -> None:
    disk = cast("Any", SimpleNamespace(backend=SimpleNamespace(pid=pid())))
    with pytest.raises(RequestLost) as caught, told(disk, "a read was used before"):
        raise MessageError("SET_VRING_ENABLE: the daemon ended the connection")
    assert str(caught.value) == (
        f"SET_VRING_ENABLE: the daemon ended the connection ({state}); a read was used before"
    )


def test_what_is_sent_has_a_name_until_it_was_survived() -> None:
    forget()  # what earlier tests of this process sent
    try:
        with named("a chain with a loop"):
            assert [one.result for one in last_requests()] == [""]
        assert [(one.text, one.result) for one in last_requests()] == [("a chain with a loop", OK)]
        with pytest.raises(AssertionError), named("a short header"):
            raise AssertionError
        assert last_requests()[-1].result == ""
    finally:
        forget()


@pytest.mark.parametrize(
    ("wanted", "says"), [(False, "not asked for by avail_event"), (True, "a second kick")]
)
def test_a_kick_that_was_lost_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: bool, says: str
) -> None:
    monkeypatch.setattr(virtio_blk, "REPLY_LIMIT_S", 0.1)
    monkeypatch.setattr(virtio_blk, "must_not_be_starved", lambda _late: None)
    pool = MemoryPool(volumes=[("v", 1 << 20)])
    server = BackEnd(str(tmp_path / "s"), pool.open("v"), ())
    server.start()
    with polled(FrontEnd(str(tmp_path / "s")), 16) as queue:
        reads = Reads(queue, 1 << 20, Random(1))
        reads.fill(together=True)
        wait_used(queue, 5, "reads")  # the daemon waits for a kick from here on

        def must_notify(ring: Ring, _added: int) -> bool:
            ring.kick_is_wanted = wanted
            return False

        monkeypatch.setattr(Ring, "must_notify", must_notify)
        reads.fill(together=True)
        with pytest.raises(RequestHangs, match=f"0 of 5 requests were completed.*{says}"):
            wait_used(queue, 5, "reads")
    server.stop()
    pool.close()


def test_a_request_that_is_not_completed_is_named_with_its_context(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(virtio_blk, "REPLY_LIMIT_S", 0.05)
    monkeypatch.setattr(virtio_blk, "must_not_be_starved", lambda _late: None)
    done = Event()
    kicked = Event()
    monkeypatch.setattr(virtio_blk, "kick", lambda _queue: kicked.set())
    ring = SimpleNamespace(used_count=lambda: 0, why_a_kick_helped=lambda: "a kick helped")
    io = VirtioBlk.__new__(VirtioBlk)
    io.front_end = cast("Any", SimpleNamespace(is_lost=lambda: False))
    io.requests = cast("Any", SimpleNamespace(queues=[SimpleNamespace(ring=ring)]))
    io.context = ", after another front end"
    pending = cast("Any", SimpleNamespace(done=done, queue=0))
    with pytest.raises(RequestHangs, match=r"^a read, after another front end: .* not completed"):
        io.finish(pending, "a read")
    assert kicked.is_set()
    monkeypatch.setattr(virtio_blk, "kick", lambda _queue: done.set())
    with pytest.raises(RequestHangs, match=r"^a read, after another front end: a kick helped"):
        io.finish(pending, "a read")
