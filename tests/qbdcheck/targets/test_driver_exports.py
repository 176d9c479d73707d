"""A raw client reaches volumes without an NBD server through an export by their driver."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from blockio.layers import CommandFlag
from qbdcheck.errors import ProgramError
from qbdcheck.files import ROOT
from qbdcheck.kit.nbd_io import connect
from qbdcheck.options import TargetOptions
from qbdcheck.targets.capabilities import capabilities
from qbdcheck.targets.description import load
from qbdcheck.targets.disk_io import WrongData
from qbdcheck.targets.session import TargetSession
from tests.qbdcheck.targets.conftest import Opener

PROFILE = "".join(
    line
    for line in (ROOT / "targets" / "reference.yaml").read_text().splitlines(keepends=True)
    if not line.startswith("nbd:")
)
"""The reference backend, reached by QEMU's driver alone."""
BLOCK = 4096


def _daemons() -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process().children()
        if child.name().startswith("qemu-storage-d") and child.status() != psutil.STATUS_ZOMBIE
    ]


@pytest.fixture
def session(open_target: Opener) -> TargetSession:
    return open_target(PROFILE)


def test_requests_in_flight_reach_the_volume(session: TargetSession) -> None:
    disk = session.new_disk("1M")
    with connect(session, disk) as one, connect(session, disk) as other:
        for place in range(8):
            one.write(place * BLOCK, BLOCK)
        other.read(0, 8 * BLOCK)
        other.write_zeroes(0, BLOCK, CommandFlag.FUA)
    disk.verify()


def test_a_file_is_exported_beside_its_other_users(open_target: Opener) -> None:
    """QEMU locks files; the export takes no lock."""
    session = open_target("file")
    disk = session.new_disk("1M")
    with connect(session, disk) as io, session.qemu_io(disk) as beside:
        io.write(0, BLOCK)
        beside.read(0, BLOCK)
    assert len(_daemons()) == 1


def test_snapshots_and_clones_have_exports_of_their_own(session: TargetSession) -> None:
    disk = session.new_disk("1M")
    with connect(session, disk) as io:
        snapshot = disk.snapshot("s")
        io.write(0, BLOCK)
        with connect(session, snapshot) as frozen:
            frozen.read(0, 2 * BLOCK)
        clone = snapshot.clone("c")
        with connect(session, clone) as of_clone:
            of_clone.write(BLOCK, BLOCK)
            of_clone.read(0, 2 * BLOCK)
        clone.remove()
        snapshot.remove()
        io.read(0, 2 * BLOCK)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_power_cut_ends_the_export(session: TargetSession, seed: int) -> None:
    disk = session.new_disk("1M")
    with connect(session, disk) as io:
        io.write(0, BLOCK, CommandFlag.FUA)
        first = _daemons()
        io.write(BLOCK, BLOCK)
        disk.backend.crash(seed=seed)
    assert not any(one.is_running() for one in first)
    with connect(session, disk) as io:
        io.read(0, 2 * BLOCK)
        io.write(0, BLOCK)


def test_a_new_size_is_seen_by_the_next_connection(session: TargetSession) -> None:
    disk = session.new_disk("1M")
    with connect(session, disk) as io:
        io.read(0, BLOCK)
    disk.resize(2 << 20)
    with session.nbd(disk) as client:
        assert client.size == 2 << 20


def test_wrong_data_is_read_again(open_target: Opener) -> None:
    session = open_target(PROFILE)
    disk = session.new_disk("64k")
    with session.nbd(disk) as client:
        client.write(0, bytes(BLOCK))  # the shadow does not follow it
    with connect(session, disk) as io, pytest.raises(WrongData, match="read again") as caught:
        io.read(0, BLOCK)
    assert "exported by qemu-storage-daemon" in str(caught.value)


def test_a_daemon_that_died_is_named_at_the_end(session: TargetSession, scratch: Path) -> None:
    disk = session.new_disk("64k")
    client = session.nbd(disk)
    (daemon,) = _daemons()
    os.kill(daemon.pid, signal.SIGSEGV)
    deadline = time.monotonic() + 20
    while daemon.is_running() and daemon.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    client.sock.close()
    with pytest.raises(ProgramError, match=r"export of volume disk by its driver: .*SIGSEGV"):
        session.close()
    assert not list(scratch.glob("*.volume"))


@pytest.mark.parametrize(
    ("program", "is_found"), [("/nonexistent/daemon", False), ("/bin/false", True)]
)
def test_a_daemon_that_does_not_start_does_not_hide_the_cases(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, program: str, is_found: bool
) -> None:
    file = scratch / "mine.yaml"
    # The result is cached by profile, so each profile has a text of its own.
    file.write_text(PROFILE.replace("about: ", f"about: {Path(program).name}, "))
    monkeypatch.setenv("QSD_PROG", program)
    found = capabilities(load(file), TargetOptions(), scratch)
    assert ("raw_requests" in found) is is_found
    file.unlink()
