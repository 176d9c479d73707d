"""Servers of ``scope: run``: shared by the cases of a run, and gone with it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from qbdcheck.errors import NotRun, SetupError, UsageError
from qbdcheck.files import ROOT
from qbdcheck.machine_speed import elapsed_limit_s
from qbdcheck.options import TargetOptions
from qbdcheck.programs.installed import Programs
from qbdcheck.targets.capabilities import capabilities
from qbdcheck.targets.description import Description, load
from qbdcheck.targets.run_server import RunVolume, end_shared, shared, start_shared
from qbdcheck.targets.server_death import ServerDiedError
from qbdcheck.targets.session import TargetSession

PROFILE = (ROOT / "targets" / "nbdkit-dir.yaml").read_text()
PATIENCE_S = 20.0


@pytest.fixture
def description() -> Description:
    return load(ROOT / "targets" / "nbdkit-dir.yaml")


@pytest.fixture
def root(scratch: Path, description: Description) -> Iterator[Path]:
    """A directory in which the shared server runs."""
    start_shared(description, Programs(), scratch)
    yield scratch
    end_shared()
    assert not list(scratch.glob("qs-*"))


@contextlib.contextmanager
def _session(
    description: Description, root: Path, name: str, *, ends_server: bool = False
) -> Iterator[TargetSession]:
    directory = root / name
    directory.mkdir()
    session = TargetSession(
        description,
        TargetOptions(),
        directory,
        capabilities={"nbd", "kill"},
        ends_server=ends_server,
    )
    try:
        yield session
    finally:
        session.close()


def _volume(session: TargetSession) -> RunVolume:
    backend = session.new_disk("1M").backend
    assert isinstance(backend, RunVolume)
    return backend


def test_cases_share_the_server_and_not_their_volumes(description: Description, root: Path) -> None:
    server = shared(description)
    assert server is not None
    with _session(description, root, "1") as one, _session(description, root, "2") as other:
        first, second = _volume(one), _volume(other)
        assert first.pid == second.pid == server.pid
        assert first.name == second.name
        assert first.uri != second.uri
        one.disks[0].verify()
        other.disks[0].verify()
        assert len(list(server.directory.glob("qc*-disk"))) == 2
    assert not list(server.directory.glob("qc*-disk"))
    assert server.is_alive


def test_shared_server_cannot_be_ended_by_a_case(description: Description, root: Path) -> None:
    with _session(description, root, "1") as session:
        assert "kill" not in session.capabilities
        volume = _volume(session)
        for end, word in ((volume.stop, "stopped"), (volume.kill, "killed")):
            with pytest.raises(NotRun, match=f"one server for all cases, which cannot be {word}"):
                end()
        session.disks[0].verify()


def test_case_that_kills_has_a_server_of_its_own(description: Description, root: Path) -> None:
    server = shared(description)
    assert server is not None
    with _session(description, root, "1", ends_server=True) as session:
        volume = _volume(session)
        own = volume.pid
        assert own != server.pid
        volume.kill()
        assert not psutil.pid_exists(own)
        volume.start()
        session.disks[0].verify()
        assert server.is_alive
    assert not list((root / "1").glob("*.server"))


def test_own_server_keeps_its_port_and_is_not_asked_to_remove_a_volume(scratch: Path) -> None:
    """A cluster stores its addresses. `volume.remove` would wait for a server that has ended."""
    file = scratch / "mine.yaml"
    text = PROFILE.replace("--unix={socket}", "--port={port} --ipaddr=127.0.0.1")
    text = text.replace('{socket: "{socket}", within', '{port: "{port}", within')
    text = text.replace(
        'server: {type: unix, path: "{socket}"}',
        'server: {type: inet, host: 127.0.0.1, port: "{port}"}',
    ).replace("nbd+unix:///{case}-{name}?socket={socket}", "nbd://127.0.0.1:{port}/{case}-{name}")
    file.write_text(text.replace("remove: rm", "remove: touch /nonexistent/rm"))
    with _session(load(file), scratch, "1", ends_server=True) as session:
        volume = _volume(session)
        port = volume.values()["port"]
        volume.kill()
        volume.start()
        assert volume.values()["port"] == port
        session.disks[0].verify()
    assert not list((scratch / "1").iterdir())
    file.unlink()
    (scratch / "1").rmdir()


def test_death_of_the_shared_server_is_told_and_survived(
    description: Description, root: Path
) -> None:
    server = shared(description)
    assert server is not None
    with contextlib.suppress(ServerDiedError), _session(description, root, "1") as session:
        volume = _volume(session)
        os.kill(server.pid, signal.SIGSEGV)
        deadline = time.monotonic() + PATIENCE_S
        while server.is_alive and time.monotonic() < deadline:
            time.sleep(0.01)
        with pytest.raises(ServerDiedError, match="server nbdkit was killed by SIGSEGV"):
            volume.end()
    assert shared(description) is None
    with _session(description, root, "2") as session:
        _volume(session)
        session.disks[0].verify()


def test_status_of_a_server_that_another_process_started(
    description: Description, root: Path
) -> None:
    """A case runs in a forked child, which cannot wait for the server."""
    server = shared(description)
    assert server is not None
    reading, writing = os.pipe()
    os.kill(server.pid, signal.SIGABRT)
    child = os.fork()
    if child == 0:
        deadline = time.monotonic() + PATIENCE_S
        while server.is_alive and time.monotonic() < deadline:
            time.sleep(0.01)
        os.write(writing, str(server.death()).encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    assert b"nbdkit was killed by SIGABRT" in os.read(reading, 1000)


def test_server_that_does_not_start_is_one_line_and_leaves_nothing(scratch: Path) -> None:
    file = scratch / "mine.yaml"
    file.write_text(PROFILE.replace("--foreground", "--no-such-option"))
    with pytest.raises(SetupError, match="the server died at its start: nbdkit exited") as caught:
        capabilities(load(file), TargetOptions(), scratch)
    assert "\n" not in str(caught.value)
    file.unlink()
    assert not list(scratch.iterdir())


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("scope: run\n", "", r"volume: \{run\} requires scope: run"),
        ("start: nbdkit", "start: nbdkit {size}", r"start: \{size\} belongs to a volume; a server"),
        (
            "{run}/{case}-{name}\n  remove",
            "{run}/{name}\n  remove",
            r"volume.create: has no \{case",
        ),
        ("  remove: rm -f {run}/{case}-{name}\n", "", "scope: run requires volume.remove:"),
        (
            "  remove:",
            '  resize: {command: "truncate -s {size} {run}/{name}", restart: true}\n  remove:',
            "volume.resize: restart: would stop the server of other cases",
        ),
        ("scope: run", "scope: session", "scope: must be 'case' or 'run'"),
    ],
)
def test_mistake_in_a_profile(scratch: Path, old: str, new: str, expected: str) -> None:
    file = scratch / "mine.yaml"
    assert old in PROFILE
    file.write_text(PROFILE.replace(old, new, 1))
    with pytest.raises(UsageError, match=rf"mine\.yaml:\d+: {expected}") as caught:
        load(file)
    assert "\n" not in str(caught.value)


def _servers(root: Path) -> list[psutil.Process]:
    return [
        one
        for one in psutil.process_iter(["cmdline"])
        if any(f"dir={root}/" in word for word in one.info["cmdline"] or [])
    ]


def test_servers_of_two_runs_end_with_their_runners(scratch: Path) -> None:
    """Two runs at once have a server each. One ends by SIGTERM, the other by SIGKILL."""
    argv = [sys.executable, "-m", "qbdcheck", "-j2", "-t", "nbdkit-dir", "--repeat", "999", "1"]
    environment = {**os.environ, "TMPDIR": str(scratch), "XDG_CACHE_HOME": str(scratch / "cache")}
    runs = [
        subprocess.Popen(argv, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
        for _ in range(2)
    ]
    try:
        _wait("two servers", lambda: len(_servers(scratch)) == 2)
        runs[0].send_signal(signal.SIGTERM)
        runs[0].wait(elapsed_limit_s(PATIENCE_S))
        _wait("one server", lambda: len(_servers(scratch)) == 1)
        assert runs[1].poll() is None
    finally:
        for run in runs:
            run.kill()
            run.wait(PATIENCE_S)
    _wait("no server", lambda: not _servers(scratch))
    _wait("no files", lambda: not list(scratch.glob("qc-*")))


def _wait(awaited: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 3 * PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"there should be {awaited}"
        time.sleep(0.05)
