"""The vhost-user server with the front end, and with the NBD server above it."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from blockio.errors import BlockError
from blockio.layers import Below, Reply, Request
from reference_backend.client import Client
from reference_backend.memory_pool import MemoryPool
from reference_backend.vhost_user import bridge as bridge_module
from reference_backend.vhost_user import requests
from reference_backend.vhost_user.back_end import BackEnd, Session
from reference_backend.vhost_user.block_requests import BlockRequests
from reference_backend.vhost_user.device_ring import Chain, DeviceRing
from reference_backend.vhost_user.disk import VhostUserDisk
from reference_backend.vhost_user.front_end import WANTED, FrontEnd
from reference_backend.vhost_user.messages import (
    NEED_REPLY,
    Code,
    Feature,
    MessageError,
    ProtocolFeature,
)
from reference_backend.vhost_user.ring import Ring
from tests.reference_backend.running import wait_until

SIZE = 1 << 20


@pytest.fixture
def path(tmp_path: Path) -> Iterator[str]:
    pool = MemoryPool(volumes=[("v", SIZE)])
    server = BackEnd(str(tmp_path / "s"), pool.open("v"), ())
    server.start()
    yield str(tmp_path / "s")
    server.stop()
    pool.close()


def test_a_disk_keeps_what_was_written(path: str) -> None:
    failures: list[str] = []
    disk = VhostUserDisk(path, 1, failures.append)
    assert disk.size == SIZE
    disk.connect()
    assert not disk.read_only
    assert disk.block_sizes == (512, 4096, 4 << 20)

    def work(number: int) -> None:
        data = bytes((number,)) * 8192
        for _ in range(20):
            disk.write(number * 8192, data)
            assert disk.read(number * 8192, 8192) == data

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    disk.write_zeroes(4096, 8192)
    disk.discard(32768, 4096)
    disk.flush()
    assert disk.read(0, 16384) == bytes(4096) * 3 + b"\1" * 4096
    disk.close()
    assert disk.read(16384, 512) == b"\2" * 512  # it connects again
    disk.close()
    assert failures == []


def test_errors_are_errnos(path: str) -> None:
    disk = VhostUserDisk(path, 1, lambda _reason: None)
    with pytest.raises(BlockError, match="VIRTIO_BLK_S_IOERR"):
        disk.read(SIZE, 512)
    with pytest.raises(BlockError, match="virtio-blk has none"):
        disk.cache(0, 512)
    disk.close()


def test_features_that_are_not_accepted_are_not_used(path: str) -> None:
    front_end = FrontEnd(path, features=WANTED & ~Feature.EVENT_IDX)
    assert not front_end.features & Feature.EVENT_IDX
    assert front_end.config().capacity == SIZE // 512
    front_end.close()


def test_a_wrong_message_ends_the_connection_alone(path: str) -> None:
    front_end = FrontEnd(path)
    with pytest.raises(MessageError, match="SET_VRING_NUM: the daemon ended the connection"):
        front_end.send(Code.SET_VRING_NUM, b"\xff\xff\0\0\x10\0\0\0")
    front_end.close()
    FrontEnd(path).close()


def test_wrong_messages_leave_no_descriptors(path: str) -> None:
    def send(code: int, payload: bytes) -> None:
        front_end = FrontEnd(path)
        with pytest.raises(MessageError, match="ended the connection"):
            front_end.send(code, payload, [front_end.memory.fd] * 2)
        front_end.close()

    send(Code.SET_MEM_TABLE, b"\1" + bytes(39))

    def descriptors() -> set[Path]:
        gc.collect()  # a map has a descriptor of its own
        return set(Path("/proc/self/fd").iterdir())

    before = descriptors()
    for _ in range(4):
        send(Code.SET_MEM_TABLE, b"\1" + bytes(39))
        send(Code.SET_MEM_TABLE, b"\2" + bytes(7) + b"\xff" * 64)
        send(Code.SET_VRING_CALL, b"\xf0" + bytes(7))
        send(250, b"")
    wait_until(lambda: len(descriptors() - before) < 3)


def test_a_fault_can_end_the_connection(tmp_path: Path) -> None:
    class Disconnect:
        waits = False

        def handle(self, request: Request, below: Below) -> Reply:
            reply = below(request)
            if request.offset == 4096:
                reply.on_wire = lambda raw: (raw, False)
            return reply

    volume = MemoryPool(volumes=[("v", SIZE)]).open("v")
    server = BackEnd(str(tmp_path / "s"), volume, [Disconnect()])
    server.start()
    failures: list[str] = []
    disk = VhostUserDisk(str(tmp_path / "s"), 1, failures.append)
    assert disk.read(0, 512) == bytes(512)
    watcher = threading.Timer(0.2, disk.leave_if_idle, (60.0,))
    watcher.start()
    with pytest.raises(BlockError, match="ended the connection"):
        disk.read(4096, 512)
    assert failures == ["the vhost-user daemon ended the connection"]
    disk.close()
    server.stop()


def test_a_size_that_is_no_multiple_of_a_sector_is_refused(tmp_path: Path) -> None:
    pool = MemoryPool(volumes=[("v", 1000)])
    with pytest.raises(ValueError, match="1000 bytes are no multiple of 512"):
        BackEnd(str(tmp_path / "s"), pool.open("v"), ())


def start(tmp_path: Path, *daemon: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable, "-m", "reference_backend", "vhost-user", "--to", str(tmp_path / "v"),
            "--socket", str(tmp_path / "n"), "--", *daemon,
        ],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def reference(tmp_path: Path) -> list[str]:
    return [
        sys.executable, "-m", "reference_backend", "serve", "--memory", "1M",
        "--vhost-user", str(tmp_path / "v"), "--socket", str(tmp_path / "other"),
        "--pid-file", str(tmp_path / "pid"),
    ]  # fmt: skip


def test_the_disk_is_an_nbd_export(tmp_path: Path) -> None:
    with start(tmp_path, *reference(tmp_path)) as bridge:
        assert bridge.stdout is not None
        lines = {bridge.stdout.readline().split()[0] for _ in range(2)}  # the daemon's and its own
        assert lines == {"ready"}
        with Client.connect(str(tmp_path / "n"), "") as nbd:
            nbd.write(4096, b"x" * 4096)
            assert nbd.read(4096, 4096) == b"x" * 4096
        bridge.terminate()
        assert bridge.wait(20) == 0


def test_the_end_of_the_daemon_is_told(tmp_path: Path) -> None:
    with start(tmp_path, *reference(tmp_path)) as bridge:
        assert bridge.stdout is not None
        for _ in range(2):
            bridge.stdout.readline()
        pid = int((tmp_path / "pid").read_text())
        subprocess.run(["kill", "-SEGV", str(pid)], check=True)
        _, errors = bridge.communicate(timeout=20)
        assert bridge.returncode == 1
    assert "the vhost-user daemon ended, by signal 11 (SIGSEGV)" in errors


def test_a_daemon_that_does_not_start_is_told(tmp_path: Path) -> None:
    with start(tmp_path, "false") as bridge:
        _, errors = bridge.communicate(timeout=20)
        assert bridge.returncode == 2
    assert errors == "reference_backend vhost-user: the daemon ended, exit code 1\n"


def test_no_reply_is_asked_for_before_that_is_negotiated(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Session._handle

    def handle(session: Session, code: int, flags: int, payload: bytes, fds: list[int]) -> None:
        if flags & NEED_REPLY and not session._protocol & ProtocolFeature.REPLY_ACK:
            raise MessageError(f"message {code} asks for a reply")
        real(session, code, flags, payload, fds)

    monkeypatch.setattr(Session, "_handle", handle)
    front_end = FrontEnd(path)
    assert front_end.protocol & ProtocolFeature.REPLY_ACK
    front_end.close()


def _quick_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "_CHECK_S", 0.05)
    monkeypatch.setattr(requests, "_PATIENCE", 2)


def test_a_lost_interrupt_is_named(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _quick_look(monkeypatch)
    real = DeviceRing.put

    def put(ring: DeviceRing, head: int, written: int) -> bool:
        real(ring, head, written)
        return False

    monkeypatch.setattr(DeviceRing, "put", put)
    failures: list[str] = []
    disk = VhostUserDisk(path, 1, failures.append)
    with pytest.raises(BlockError, match="for which no interrupt came"):
        disk.read(0, 512)
    disk.close()
    assert len(failures) == 1


@pytest.mark.parametrize(
    ("wanted", "says"), [(False, "not asked for by avail_event"), (True, "a second kick")]
)
def test_a_lost_kick_is_named(
    path: str, monkeypatch: pytest.MonkeyPatch, wanted: bool, says: str
) -> None:
    _quick_look(monkeypatch)

    def must_notify(ring: Ring, _added: int) -> bool:
        ring.kick_is_wanted = wanted
        return False

    disk = VhostUserDisk(path, 1, lambda _reason: None)
    assert disk.read(0, 512) == bytes(512)
    monkeypatch.setattr(Ring, "must_notify", must_notify)
    with pytest.raises(BlockError, match=says):
        disk.read(0, 512)
    disk.close()


def test_a_slow_daemon_is_waited_for(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _quick_look(monkeypatch)
    real = BlockRequests.execute

    def execute(one: BlockRequests, chain: Chain) -> int:
        time.sleep(0.5)
        return real(one, chain)

    monkeypatch.setattr(BlockRequests, "execute", execute)
    disk = VhostUserDisk(path, 1, lambda _reason: None)
    assert disk.read(0, 512) == bytes(512)
    disk.close()


def test_a_request_without_a_status_is_a_failure_of_the_daemon(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BlockRequests, "execute", lambda _self, _chain: 1)
    failures: list[str] = []
    disk = VhostUserDisk(path, 1, failures.append)
    with pytest.raises(BlockError, match=r"completed a read with no status \(\d+ segments"):
        disk.read(0, 8192)
    disk.close()
    assert len(failures) == 1


def test_a_daemon_that_breaks_a_rule_ends_the_server_before_its_client_hears_of_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    failures: list[str] = []
    thread = threading.Thread(target=bridge_module._failed, args=(failures, "a broken rule"))
    thread.start()
    thread.join()
    assert codes == [1]
    assert capsys.readouterr().err == "reference_backend vhost-user: a broken rule\n"
    assert failures == []
    bridge_module._failed(failures, "the daemon left")  # by the main thread, which ends alone
    assert (codes, failures) == ([1], ["the daemon left"])
