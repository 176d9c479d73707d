"""Commands and files of a guest without an agent: a login on its serial console.

Commands run in the background with their output in files. An answer on the console is base64
between two marks, with its md5. The kernel may print into it at any time; then the question is
asked again. Each command has a session of its own, so that it can be killed with all its children.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import re
import shlex
import socket
from pathlib import Path

import pexpect
import pexpect.fdpexpect

from qbdcheck.clock import pause
from qbdcheck.errors import ProgramError
from qbdcheck.guest.agent import Ran
from qbdcheck.machine_speed import Limit

_PROMPT = r"(?:^|[\r\n])[^\r\n]*[#$%] ?$"
_PLACE = "/tmp/.qbdcheck"
_ANSWER_S = 60.0
_TRIES_S = (5.0, 10.0, 20.0, 40.0, 60.0)
"""Seconds to wait for each repeated answer: one may be damaged by the kernel, or slow."""
_KERNEL_LINE = re.compile(r"\[ *\d+\.\d{6}\][^\n]*\n")
"""A line of the kernel (printk.time=1), which may be in the middle of the shell's output."""
_LOGINS = 3
"""Login prompts that are answered: one may have been printed before the connection."""
_FIRST_STEP_S = 0.02
_LONGEST_STEP_S = 0.5
_CHUNK = 700
"""Bytes of a file in one line. A terminal takes lines of 4095 characters (termios(3))."""
_KNOWN_SHELL = "stty -echo 2>/dev/null; export PS1= PS2= LC_ALL=C TERM=dumb; unset PROMPT_COMMAND"


class SerialShell:
    """A shell on a serial console.

    :param path: the Unix socket of the console.
    :param login: ``USER`` or ``USER:PASSWORD``. Not used if the console has a shell already.
    :param timeout_s: seconds from the start of the guest to its prompt.
    :raise ProgramError: there is no prompt, or the login was refused.
    """

    def __init__(self, path: Path, login: str, timeout_s: float) -> None:
        self._number = 0
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.connect(str(path))
            self._line = pexpect.fdpexpect.fdspawn(
                self._socket.fileno(),
                timeout=_ANSWER_S,
                encoding="utf-8",
                codec_errors="replace",
                use_poll=True,
            )
            self._log_in(*login.partition(":")[::2], timeout_s)
        except ProgramError:
            self._socket.close()
            raise
        except (OSError, pexpect.ExceptionPexpect) as error:
            self._socket.close()
            raise _gone(f"no shell on the serial console: {type(error).__name__}") from None

    def _log_in(self, user: str, password: str, timeout_s: float) -> None:
        limit = Limit(timeout_s)
        asked = False
        logins = 0
        while True:
            if limit.is_over:
                raise _gone(f"no prompt on the serial console within {limit.seconds:g} s")
            found = self._line.expect(
                [r"ogin: ?$", r"assword: ?$", _PROMPT, r"[Ii]ncorrect", pexpect.TIMEOUT],
                timeout=min(limit.total_left_s, 5.0),
            )
            logins += found == 0
            if found == 0 and logins <= _LOGINS:
                self._send(user)
            elif found == 1:
                self._send(password)
            elif found == 2:
                break
            elif found in {0, 3}:
                raise _gone(f"the guest refused the login of '{user}' (--guest-login)")
            elif not asked:  # the prompt was printed before the connection
                self._send("")
                asked = True
            else:
                asked = False
        self._send(_KNOWN_SHELL)
        self._ask(f"rm -rf {_PLACE}; mkdir -p {_PLACE}; echo ready")

    def _send(self, line: str) -> None:
        self._line.send(line + "\n")

    def _ask(self, command: str) -> bytes:
        """Return what a short line of shell prints. The line may run more than once."""
        for within_s in _TRIES_S:
            self._number += 1
            # The marks are cut in two, so that an echo of the line is not taken for an answer.
            self._send(
                f"( {command} ) > {_PLACE}.a 2>&1; echo; echo '@'{self._number}'<'; "
                f"base64 {_PLACE}.a; echo '@'{self._number}'>' $(md5sum < {_PLACE}.a)"
            )
            match = self._answer(self._number, Limit(within_s))
            if match is None:
                continue
            if not match["sum"]:
                raise _gone("the guest lacks base64, head, md5sum or setsid, which commands need")
            data = _decoded(match["data"])
            if hashlib.md5(data, usedforsecurity=False).hexdigest() == match["sum"]:
                return data
        raise _gone(f"the shell on the serial console does not answer '{command[:60]}'")

    def _answer(self, number: int, limit: Limit) -> re.Match[str] | None:
        pattern = re.compile(
            rf"@{number}<\s(?P<data>.*?)@{number}> ?(?P<sum>\w*)[^\n]*\n", re.DOTALL
        )
        text = ""
        while left_s := limit.left_s():
            with contextlib.suppress(pexpect.TIMEOUT):
                text += self._line.read_nonblocking(4096, left_s)
            if match := pattern.search(_KERNEL_LINE.sub("", text)):
                return match
        return None

    def ask(self, command: str) -> str:
        """Return what a short line of shell prints.

        :raise ProgramError: the shell does not answer.
        """
        try:
            return self._ask(command).decode("utf-8", "replace")
        except (OSError, pexpect.ExceptionPexpect) as error:
            raise _gone(f"the serial console is gone: {error}") from None

    def start(self, command: str) -> SerialRunning:
        """Start a line of shell."""
        self._number += 1
        base = f"{_PLACE}/{self._number}"
        self.write_file(f"{base}.sh", command.encode())
        inner = f"sh {base}.sh > {base}.out 2> {base}.err < /dev/null; echo $? > {base}.new; "
        inner += f"mv {base}.new {base}.status"
        # The line may run twice, and the command must start once: mkdir is the lock.
        pid = self.ask(
            f"mkdir {base} 2>/dev/null && {{ setsid sh -c {shlex.quote(inner)} "
            f"> /dev/null 2>&1 & echo $! > {base}.pid; }}; cat {base}.pid"
        )
        return SerialRunning(self, command, base, int(pid))

    def run(self, command: str, within_s: float = 60.0) -> Ran:
        """Run a line of shell to its end.

        :raise TimeoutError: it did not end; it is killed, with all its children.
        """
        return self.start(command).wait(within_s)

    def write_file(self, path: str, data: bytes) -> None:
        """Write a file of the guest. The console is slow: files have at most some MiB."""
        quoted = shlex.quote(path)
        self.ask(f"mkdir -p {_PLACE}; : > {quoted}")
        for at in range(0, len(data), _CHUNK):
            part = base64.b64encode(data[at : at + _CHUNK]).decode()
            # The file is cut to its former size first, so that a repeated line adds once.
            self.ask(
                f"head -c {at} {quoted} > {_PLACE}.f; echo {part} | base64 -d >> {_PLACE}.f; "
                f"cat {_PLACE}.f > {quoted}"
            )

    def read_file(self, path: str) -> bytes:
        """Return a file of the guest.

        :raise ProgramError: there is no such file.
        """
        try:
            answer = self._ask(f"cat {shlex.quote(path)} && echo -n +")
        except (OSError, pexpect.ExceptionPexpect) as error:
            raise _gone(f"the serial console is gone: {error}") from None
        if not answer.endswith(b"+"):
            raise _gone(answer.decode("utf-8", "replace").strip())
        return answer[:-1]

    def close(self) -> None:
        """Disconnect."""
        self._socket.close()


class SerialRunning:
    """A command that was started and may have ended. ``pid`` leads its session."""

    def __init__(self, shell: SerialShell, command: str, base: str, pid: int) -> None:
        self.command = command
        self.pid = pid
        self._shell = shell
        self._base = base

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return not self._status()

    def _status(self) -> str:
        return self._shell.ask(f"cat {self._base}.status 2>/dev/null").strip()

    def wait(self, within_s: float = 60.0) -> Ran:
        """Wait for its end.

        :raise TimeoutError: it did not end; it is killed, with all its children.
        """
        limit = Limit(within_s)
        step_s = _FIRST_STEP_S
        while not (status := self._status()):
            if limit.is_over:
                self.kill()
                raise TimeoutError(f"'{self.command}' did not end within {limit.seconds:g} s")
            pause(step_s)
            step_s = min(2 * step_s, _LONGEST_STEP_S)
        output, errors = (
            self._shell.read_file(f"{self._base}.{name}").decode("utf-8", "replace")
            for name in ("out", "err")
        )
        self._shell.ask(f"rm -rf {self._base} {self._base}.*")
        return Ran(self.command, int(status), output, errors)

    def kill(self) -> None:
        """Send SIGKILL to the command and its children."""
        with contextlib.suppress(ProgramError):
            self._shell.ask(f"kill -9 -{self.pid}")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(re.sub(r"\s", "", text), validate=True)
    except binascii.Error:
        return b""


def _gone(message: str) -> ProgramError:
    return ProgramError(message, [], None)
