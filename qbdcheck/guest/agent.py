"""Commands and files of a guest through QEMU's guest agent (qga/qapi-schema.json).

Each command leads a session of its own, so that it can be killed with all its children.
"""

from __future__ import annotations

import base64
import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qbdcheck.clock import pause
from qbdcheck.errors import ProgramError
from qbdcheck.machine_speed import Limit
from qbdcheck.programs.qmp import connect_within

SMALL_LINUX = ("/bin/busybox", "setsid", "/bin/dash", "-c")
"""The shell command for the small Linux of image.py."""
_ANY = ("/bin/sh", "-c", 'exec setsid /bin/sh -c "$0"')
"""The shell command for a custom guest, which must have sh and setsid."""
ENVIRONMENT = (
    "PATH=/usr/sbin:/usr/bin:/sbin:/bin:/applets", "HOME=/tmp", "LC_ALL=C", "TERM=dumb",
)  # fmt: skip
_FIRST_STEP_S = 0.005
_LONGEST_STEP_S = 0.1


@dataclass(frozen=True)
class Ran:
    """A command that has ended.

    :ivar status: its exit status; 128 + n where signal n ended it.
    """

    command: str
    status: int
    output: str
    errors: str


class Agent:
    """A connection to the agent.

    :param small: whether the guest is the small Linux of image.py.
    :raise ProgramError: the agent does not answer.
    """

    chunk = 1 << 20
    """Bytes of a file in one request. The agent returns at most 48 MiB."""

    def __init__(self, path: Path, timeout_s: float = 30.0, *, small: bool = True) -> None:
        self._shell = SMALL_LINUX if small else _ANY
        self._qmp = connect_within(path, "guest agent", timeout_s, greets=False)
        self.execute("guest-sync", {"id": 20261123})

    @property
    def answer_s(self) -> float:
        """Seconds within which the agent must answer; after that the guest counts as dead."""
        return self._qmp.timeout_s

    @answer_s.setter
    def answer_s(self, seconds: float) -> None:
        self._qmp.timeout_s = seconds

    def execute(self, command: str, arguments: dict[str, Any] | None = None) -> Any:
        """Run a command of the agent itself.

        :raise QmpFailed: the agent refused it. :raise ProgramError: the guest is dead or stopped.
        """
        return self._qmp.execute(command, arguments)

    def start(self, command: str) -> Running:
        """Start a line of shell."""
        started = self.execute(
            "guest-exec",
            {
                "path": self._shell[0],
                "arg": [*self._shell[1:], command],
                "env": list(ENVIRONMENT),
                "capture-output": True,
            },
        )
        return Running(self, command, int(started["pid"]))

    def run(self, command: str, within_s: float = 60.0) -> Ran:
        """Run a line of shell to its end.

        :raise TimeoutError: it did not end; it is killed, with all its children.
        """
        return self.start(command).wait(within_s)

    def write_file(self, path: str, data: bytes) -> None:
        """Write a file of the guest."""
        handle = self.execute("guest-file-open", {"path": path, "mode": "w"})
        try:
            for at in range(0, len(data), self.chunk):
                text = base64.b64encode(data[at : at + self.chunk]).decode()
                self.execute("guest-file-write", {"handle": handle, "buf-b64": text})
        finally:
            self.execute("guest-file-close", {"handle": handle})

    def read_file(self, path: str) -> bytes:
        """Return a file of the guest."""
        handle = self.execute("guest-file-open", {"path": path, "mode": "r"})
        data = b""
        try:
            while True:
                part = self.execute("guest-file-read", {"handle": handle, "count": self.chunk})
                data += base64.b64decode(part["buf-b64"])
                if part["eof"] or not part["count"]:
                    return data
        finally:
            self.execute("guest-file-close", {"handle": handle})

    def close(self) -> None:
        """Disconnect."""
        self._qmp.close()


class Running:
    """A command that was started and may have ended."""

    def __init__(self, agent: Agent, command: str, pid: int) -> None:
        self.command = command
        self.pid = pid
        self._agent = agent
        self._ran: Ran | None = None

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._poll() is None

    def _poll(self) -> Ran | None:
        if self._ran is None:
            answer = self._agent.execute("guest-exec-status", {"pid": self.pid})
            if answer["exited"]:
                known = "exitcode" in answer
                status = answer["exitcode"] if known else 128 + answer.get("signal", 0)
                self._ran = Ran(
                    self.command, status, _text(answer, "out-data"), _text(answer, "err-data")
                )
        return self._ran

    def wait(self, within_s: float = 60.0) -> Ran:
        """Wait for its end.

        :raise TimeoutError: it did not end; it is killed, with all its children.
        """
        limit = Limit(within_s)
        step_s = _FIRST_STEP_S
        while (ran := self._poll()) is None:
            if limit.is_over:
                self.kill()
                raise TimeoutError(f"'{self.command}' did not end within {limit.seconds:g} s")
            pause(step_s)
            step_s = min(2 * step_s, _LONGEST_STEP_S)
        return ran

    def kill(self) -> None:
        """Send SIGKILL to the command and its children."""
        with contextlib.suppress(ProgramError):
            arguments = {"path": "/bin/sh", "arg": ["-c", f"kill -9 -{self.pid}"]}
            self._agent.execute("guest-exec", arguments)


def _text(answer: dict[str, Any], key: str) -> str:
    return base64.b64decode(answer.get(key, "")).decode("utf-8", "replace")
