"""``vhost-user``: serve the disk of a vhost-user-blk daemon over NBD."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from blockio.errors import BlockError, VolumeNotFound
from blockio.layers import Below, Reply, Request
from reference_backend.server import Server
from reference_backend.serving import report_ready
from reference_backend.vhost_user.disk import VhostUserDisk
from reference_backend.vhost_user.messages import MessageError

if TYPE_CHECKING:
    from reference_backend.fast_arguments import Arguments

_PATIENCE_S = 60.0
"""Seconds for the daemon to accept the first connection; the caller has a limit of its own."""
_STEP_S = 0.05
_IDLE_S = 0.2
"""Seconds without a request after which the front end leaves the daemon."""
_PR_SET_PDEATHSIG = 1


class EachInItsThread:
    """A layer that changes nothing, and lets each request have a thread of its own."""

    pauses = True
    waits = True
    active = True

    def handle(self, request: Request, below: Below) -> Reply:
        """Pass the request on."""
        return below(request)


class DaemonExport:
    """The one export: the disk of a daemon under a name; the empty name is the same export."""

    def __init__(self, disk: VhostUserDisk, name: str) -> None:
        self._disk, self._name = disk, name

    def open(self, name: str) -> VhostUserDisk:
        """Return the disk, with its present size.

        :raise VolumeNotFound: another name, or the daemon does not answer.
        """
        if name not in {"", self._name}:
            msg = f"no volume {name!r}"
            raise VolumeNotFound(msg)
        try:
            self._disk.refresh()
        except BlockError as error:
            raise VolumeNotFound(str(error)) from error
        return self._disk

    def list(self) -> Sequence[str]:
        """Return the name of the export."""
        return [self._name]


def serve_vhost_user(arguments: Arguments) -> int:
    """Serve until SIGTERM, SIGINT or SIGHUP; return 0, or 1 if the daemon failed.

    :raise OSError: a path cannot be used, or the daemon cannot be started.
    :raise ValueError: the daemon does not serve a disk.
    """
    stop = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, stop)
    failures: list[str] = []
    try:
        with contextlib.ExitStack() as cleanup:
            daemon = None
            if arguments.daemon:
                daemon = cleanup.enter_context(_daemon(arguments.daemon))
            disk = VhostUserDisk(arguments.to, arguments.seed, partial(_failed, failures))
            cleanup.callback(disk.close)
            _connect_first(disk, daemon)
            server = Server(
                DaemonExport(disk, arguments.export_name), arguments.socket,
                layers=[EachInItsThread()], features=disk.features(), read_only=disk.read_only,
            )  # fmt: skip
            server.start()
            cleanup.callback(server.stop)
            report_ready(arguments.ready_fd, arguments.socket)
            while not failures and signal.sigtimedwait(stop, _STEP_S) is None:
                disk.leave_if_idle(_IDLE_S)
                if daemon is not None and daemon.poll() is not None:
                    failures.insert(0, f"the vhost-user daemon ended, {_ending(daemon.returncode)}")
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if failures:
        _say(failures[0])
    return 1 if failures else 0


def _say(reason: str) -> None:
    sys.stderr.write(f"reference_backend vhost-user: {reason}\n")
    sys.stderr.flush()


def _failed(failures: list[str], reason: str) -> None:
    """Note why the server must end.

    The thread of a request ends it at once: its client would see a failed request first, and then
    nobody would ask why.
    """
    if threading.current_thread() is threading.main_thread():
        failures.append(reason)
        return
    _say(reason)
    os._exit(1)  # the daemon gets SIGKILL, as `_daemon` says


def _connect_first(disk: VhostUserDisk, daemon: subprocess.Popen[bytes] | None) -> None:
    """Wait until the daemon accepts a connection.

    :raise ValueError: it ended, or did not accept one in time.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            disk.connect()
        except (ConnectionRefusedError, FileNotFoundError) as error:
            reason = str(error)
        except MessageError as error:
            raise ValueError(str(error)) from error
        else:
            return
        if daemon is not None and daemon.poll() is not None:
            msg = f"the daemon ended, {_ending(daemon.returncode)}"
            raise ValueError(msg)
        if time.monotonic() > deadline:
            msg = f"no vhost-user daemon accepts connections: {reason}"
            raise ValueError(msg)
        time.sleep(_STEP_S)


@contextlib.contextmanager
def _daemon(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run the daemon; it dies with this process, also by SIGKILL (prctl(2), PR_SET_PDEATHSIG)."""
    import ctypes

    libc = ctypes.CDLL(None)

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        signal.pthread_sigmask(signal.SIG_SETMASK, set())

    daemon = subprocess.Popen(command, preexec_fn=prepare)  # noqa: PLW1509  # no threads yet
    try:
        yield daemon
    finally:
        daemon.terminate()
        daemon.wait()


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    return f"by signal {-code} ({signal.Signals(-code).name})"
