"""A program of QEMU that is driven over QMP: the base of qemu-storage-daemon and qemu-system.

The monitor is one end of a socket pair. The program inherits it as a file descriptor, so
there is no socket path to wait for.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

from qbdcheck.clock import pause
from qbdcheck.errors import ProgramError
from qbdcheck.machine_speed import Limit
from qbdcheck.programs.blockdev import Blockdev, dashed
from qbdcheck.programs.closing import CloseOrAbandon
from qbdcheck.programs.process import Process, describe_exit
from qbdcheck.programs.qmp import Event, Qmp, QmpFailed
from qbdcheck.programs.running import tail

QUIT_GRACE_S = 10.0
CRASH_GRACE_S = 0.2
"""A client sees the end of a connection shortly before the program has ended, in seconds."""


class Monitored(CloseOrAbandon):
    """A running program with a QMP monitor.

    :param argv: the command line; ``{monitor}`` becomes the number of the file descriptor.
    :param directory: holds the program's output and the sockets of its exports.
    :param timeout_s: seconds that one command may take.
    :raise ProgramError: the program died at its start; the message has its output.
    """

    def __init__(
        self, argv: Sequence[str], directory: Path, name: str, timeout_s: float = 30.0
    ) -> None:
        self.name = name
        self._directory = directory
        self._closed = False
        self.before: Callable[[str], None] | None = None
        """Called with the arguments of each QMP command, as one text, before it is sent."""
        self._exports = 0
        ours, theirs = socket.socketpair()
        with theirs:
            descriptor = theirs.fileno()
            command = [argument.replace("{monitor}", str(descriptor)) for argument in argv]
            self.process = Process(command, directory, name, pass_fds=(descriptor,))
        ours.setblocking(False)
        try:
            self._qmp = Qmp(ours, name, timeout_s)
        except ProgramError as error:
            self.process.has_ended_within(1.0)
            ending = self.process.describe()
            self.process.kill()
            raise ProgramError(
                f"{name} did not start: {ending}", command, self.process.returncode, ending
            ) from error

    @property
    def pid(self) -> int:
        """Process id of the program."""
        return self.process.pid

    # QMP

    def qmp(self, command: str, /, **arguments: object) -> Any:  # JSON
        """Run a QMP command and return its ``return`` value.

        Underscores in argument names become dashes: ``node_name="n"``. `execute` takes names
        unchanged.

        :raise QmpFailed: QEMU refused the command: ``error_class``, ``description``.
        :raise ProgramError: the program died; the message has its last output.
        """
        return self.execute(command, dashed(arguments))

    def execute(self, command: str, arguments: Mapping[str, Any] | None = None) -> Any:
        """Run a QMP command. Argument names are not changed."""
        if self.before is not None:
            self.before(json.dumps(arguments))
        try:
            return self._qmp.execute(command, arguments)
        except QmpFailed:
            raise
        except ProgramError as error:
            if not self.process.has_ended_within(0.5):
                raise
            ending, code = self.process.describe(), self.process.returncode
            # The cause first: long messages are cut.
            text = f"{ending} (during {command})" if self.process.crash else f"{error}; {ending}"
            raise ProgramError(text, self.process.argv, code, ending) from None

    @property
    def events(self) -> list[Event]:
        """All events so far."""
        return self._qmp.events

    def wait_event(self, event: str, /, within_s: float = 10.0, **match: object) -> Event:
        """Wait for the next event of this name with these values in its data.

        :raise ProgramError: no such event came in time.
        """
        return self._qmp.wait_event(event, within_s, **match)

    # Nodes, exports, jobs

    def add(self, blockdev: Blockdev) -> str:
        """Add a node and return its name.

        :raise QmpFailed: QEMU cannot add it.
        """
        self.execute("blockdev-add", blockdev)
        return str(blockdev["node-name"])

    def export(
        self, node: str, name: str | None = None, writable: bool = True, **options: object
    ) -> str:
        """Export a node over NBD on a private Unix socket. Return the URI.

        :param name: export name; by default the name of the node.
        """
        path = self._directory / f"{self.name}.nbd"
        if not self._exports:
            address = {"type": "unix", "data": {"path": str(path)}}
            self.execute("nbd-server-start", {"addr": address})
            path.chmod(0o600)
        self._exports += 1
        name = node if name is None else name
        arguments = {"type": "nbd", "id": f"export{self._exports}", "node-name": node, "name": name,
                     "writable": writable, **dashed(options)}  # fmt: skip
        self.execute("block-export-add", arguments)
        return f"nbd+unix:///{quote(name)}?socket={quote(str(path))}"

    def wait_job(
        self, job_id: str, within_s: float = 30.0, to: str = "concluded", dismiss: bool = True
    ) -> dict[str, Any]:
        """Wait until a job is concluded, or reaches the state ``to``, such as ``ready``.

        :param dismiss: whether a concluded job is dismissed.
        :return: its last entry of ``query-jobs``.
        :raise ProgramError: the job failed (the message has its error), or it took too long.
        """
        limit = Limit(within_s)
        while True:
            job = self._job(job_id)
            if job["status"] in {to, "concluded"}:
                break
            left_s = limit.left_s()
            if left_s == 0:
                message = f"job {job_id} is still {job['status']} after {limit.seconds:g} s"
                raise ProgramError(message, self.process.argv, None)
            with contextlib.suppress(ProgramError):
                self.wait_event("JOB_STATUS_CHANGE", left_s, id=job_id)
        if job["status"] == "concluded" and dismiss:
            self.execute("job-dismiss", {"id": job_id})
        if "error" in job:
            raise QmpFailed(f"job {job_id}", "JobFailed", str(job["error"]))
        return job

    def wait_progress(self, job_id: str, within_s: float = 30.0) -> None:
        """Wait until a block job has processed its first bytes: it is past its preparation.

        :raise ProgramError: there is no such job, or it took too long.
        """
        limit = Limit(within_s)
        while not self._job(job_id)["current-progress"]:
            if limit.left_s() == 0:
                message = f"job {job_id} has done nothing after {limit.seconds:g} s"
                raise ProgramError(message, self.process.argv, None)
            pause(0.01)

    def _job(self, job_id: str) -> dict[str, Any]:
        jobs: list[dict[str, Any]] = self.execute("query-jobs")
        for job in jobs:
            if job["id"] == job_id:
                return job
        known = ", ".join(str(job["id"]) for job in jobs) or "none"
        message = f"there is no job {job_id} (jobs: {known}); it may have dismissed itself"
        raise ProgramError(message, self.process.argv, None)

    # The end

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close or abandon the program. If it crashed, its clients failed because of that.

        :raise ProgramError: the error is that of a client, and the program has crashed.
        """
        client_failed = isinstance(error, (ProgramError, OSError, EOFError))
        if client_failed:
            self.process.has_ended_within(CRASH_GRACE_S)
        super().__exit__(kind, error, traceback)
        if not client_failed or self.process.crash is None:
            return
        argv, code, output = self.process.argv, self.process.returncode, self.process.output()
        how = f"{Path(argv[0]).name} {describe_exit(code)}"
        if how not in str(error):
            text = f"{how}: {tail(output, 1) or 'it printed nothing'} (seen as: {error})"
            raise ProgramError(text, argv, code, output) from error

    def close(self) -> None:
        """End the program with ``quit``.

        :raise ProgramError: the program does not end in time, or its exit status is not 0.
        """
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(ProgramError):
            self._qmp.execute("quit")
        self._qmp.close()
        ended = self.process.has_ended_in(Limit(QUIT_GRACE_S))
        code = self.process.returncode if ended else self.process.kill()
        if not ended or code != 0:
            how = self.process.describe() if ended else "did not end after quit"
            raise ProgramError(
                f"{self.name}: {how}", self.process.argv, code, self.process.output()
            )

    def kill(self) -> None:
        """Send SIGKILL, which has the effect of a power cut of the host."""
        self._closed = True
        self._qmp.close()
        self.process.kill()

    def abandon(self) -> None:
        """Kill the program after an exception."""
        self.kill()
