"""A shell of a guest that keeps running: a line takes some milliseconds, a new process takes fifty.

It is busybox's shell, which runs busybox's own commands (mount, tar, dd, sync, mv) without starting
a program. Lines go to it through a pipe and their output to files. The guest agent moves both.
"""

from __future__ import annotations

import base64
from typing import Any

from qbdcheck import clock
from qbdcheck.errors import NotRun
from qbdcheck.guest.agent import Agent
from qbdcheck.guest.guest import Guest
from qbdcheck.machine_speed import Limit

_LOOP = """\
while read -r line; do
    eval "$line" > {0}.out 2> {0}.err < /dev/null
    echo $? >> {0}.status
done < {0}.in
"""
_START_S = 30.0
_FIRST_STEP_S = 0.001
_LONGEST_STEP_S = 0.05
_CHUNK = 1 << 20


class QuickShell:
    """The shell of one guest. Its directory and variables stay from line to line.

    :param name: the name of its files below /run.
    :raise NotRun: the guest is a custom one, which may have no busybox.
    :raise ProgramError: the guest is dead.
    """

    def __init__(self, guest: Guest, name: str = "quick") -> None:
        base = f"/run/{name}"
        self._guest = guest
        agent = guest.agent
        if guest.own is not None or not isinstance(agent, Agent):
            raise NotRun("this requires busybox, which this guest may lack")
        self._agent = agent
        guest.write_file(f"{base}.sh", _LOOP.format(base))
        guest.run(f"cd /run && mkfifo {base}.in && : > {base}.out && : > {base}.err"
                  f" && : > {base}.status")  # fmt: skip
        self._running = guest.begin(f"exec busybox sh {base}.sh")
        self._in, self._out, self._err, self._status = (
            self._open(f"{base}.{kind}", mode)
            for kind, mode in (("in", "r+"), ("out", "r"), ("err", "r"), ("status", "r"))
        )

    def run(self, line: str, within_s: float = 60.0) -> tuple[int, bytes, str]:
        """Run a line; return its exit status, its output and its errors.

        :raise GuestFailed: the line did not end in time, or the guest died.
        """
        data = base64.b64encode(f"{line}\n".encode()).decode()
        self._ask("guest-file-write", self._in, {"buf-b64": data})
        self._ask("guest-file-flush", self._in)
        limit = Limit(within_s)
        step_s = _FIRST_STEP_S
        while not (status := self._read(self._status)).endswith(b"\n"):
            if limit.is_over:
                late = f"'{line}' did not end within {limit.seconds:g} s"
                self._guest.fail(late, timed_out=True)
            clock.pause(step_s)
            step_s = min(2 * step_s, _LONGEST_STEP_S)
        return int(status), self._whole(self._out), self._whole(self._err).decode(errors="replace")

    def _open(self, path: str, mode: str) -> int:
        return int(self._agent.execute("guest-file-open", {"path": path, "mode": mode}))

    def _ask(self, command: str, handle: int, arguments: dict[str, Any] | None = None) -> Any:
        return self._agent.execute(command, {"handle": handle, **(arguments or {})})

    def _whole(self, handle: int) -> bytes:
        self._ask("guest-file-seek", handle, {"offset": 0, "whence": "set"})
        return self._read(handle)

    def _read(self, handle: int) -> bytes:
        data = b""
        while True:
            part = self._ask("guest-file-read", handle, {"count": _CHUNK})
            data += base64.b64decode(part["buf-b64"])
            if part["eof"] or not part["count"]:
                return data
