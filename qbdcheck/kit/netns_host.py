"""Another host: a network namespace of its own, at the other end of a virtual cable (veth(4)).

Namespace, cable and addresses belong to a thread and to sockets of this process: when it ends,
however it ends, the kernel takes them away (network_namespaces(7)), `close` at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import queue
import shutil
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from qbdcheck.errors import NotRun, ProgramError
from qbdcheck.programs.process import Completed, run

CLONE_NEWNET = 0x40000000
"""sched.h; os.unshare came with Python 3.12."""
COMMAND_TIMEOUT_S = 10.0


class FarHost:
    """A host of its own, reached by TCP over a cable that can be pulled, narrow or bad.

    :raise NotRun: not root, no ip(8), or a kernel without network namespaces or veth.
    """

    def __init__(self) -> None:
        missing = [program for program in ("ip", "tc") if shutil.which(program) is None]
        if os.geteuid() != 0 or missing:
            why = f"no {' and no '.join(missing)}" if missing else "not root"
            raise NotRun(f"no host of its own by network namespaces: {why}")
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()
        number = os.getpid()
        self.near, self.far = f"qn{number}", f"qf{number}"
        """Names of the cable's ends."""
        net = f"10.{number >> 14 & 0xFF}.{number >> 6 & 0xFF}.{(number & 0x3F) << 2}"
        first, last = net.rsplit(".", 1)
        self.address = f"{first}.{int(last) + 2}"
        """IPv4 address of the far host."""
        try:
            thread_id = self._there(self._leave)
            self._ip(f"link add {self.near} type veth peer name {self.far} netns {thread_id}")
            self._ip(f"addr add {first}.{int(last) + 1}/30 dev {self.near}")
            self._ip(f"link set {self.near} up")
            self._ip(f"addr add {self.address}/30 dev {self.far}", there=True)
            self._ip(f"link set {self.far} up", there=True)
        except (OSError, ProgramError) as error:
            self.close()
            raise NotRun(f"no host of its own by network namespaces: {error}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def listen(self) -> socket.socket:
        """Return a TCP socket that listens on the far host, on a free port."""

        def make() -> socket.socket:
            sock = socket.socket(socket.AF_INET)
            sock.bind((self.address, 0))
            sock.listen(64)
            return sock

        listener: socket.socket = self._there(make)
        return listener

    def pull(self) -> None:
        """Pull the cable: packets are lost, nobody is told."""
        self._ip(f"link set {self.far} down", there=True)

    def plug(self) -> None:
        """Put the cable back."""
        self._ip(f"link set {self.far} up", there=True)

    def narrow(self, megabit_per_s: int) -> None:
        """Let no more pass in each direction (tc-tbf(8))."""
        self._queue(f"tbf rate {megabit_per_s}mbit burst 32kbit latency 400ms")

    def spoil(self, *words: str) -> None:
        """Lose, delay or reorder packets in each direction: ``loss 2%``, ``delay 5ms``.

        :raise NotRun: the kernel has no netem (tc-netem(8)).
        """
        try:
            self._queue(f"netem {' '.join(words)}")
        except ProgramError as error:
            why = error.stderr.strip() or str(error)
            raise NotRun(f"the kernel has no netem to lose and delay packets ({why})") from None

    def mend(self) -> None:
        """End what `narrow` and `spoil` began."""
        for there, device in ((False, self.near), (True, self.far)):
            self._command(["tc", "qdisc", "del", "dev", device, "root"], there=there)

    def close(self) -> None:
        """End the host; the cable goes with it."""
        with contextlib.suppress(ProgramError):
            self._ip(f"link del {self.near}")
        self._work.put(None)
        self._thread.join(COMMAND_TIMEOUT_S)

    # Inside --------------------------------------------------------------------------------------

    def _queue(self, words: str) -> None:
        for there, device in ((False, self.near), (True, self.far)):
            argv = ["tc", "qdisc", "replace", "dev", device, "root", *words.split()]
            self._command(argv, there=there)

    def _ip(self, words: str, *, there: bool = False) -> None:
        self._command(["ip", *words.split()], there=there)

    def _command(self, argv: list[str], *, there: bool) -> Completed:
        def command() -> Completed:
            return run(argv, timeout_s=COMMAND_TIMEOUT_S)

        return self._there(command) if there else command()

    def _leave(self) -> int:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, f"unshare: {os.strerror(number)}")
        return threading.get_native_id()

    def _there(self, work: Callable[[], Any]) -> Any:
        """Run a function in the thread that lives on the far host; return or raise what it did."""
        outcome: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

        def guarded() -> None:
            try:
                outcome.put((work(), None))
            except (OSError, ProgramError) as error:
                outcome.put((None, error))

        self._work.put(guarded)
        value, error = outcome.get(timeout=2 * COMMAND_TIMEOUT_S)
        if error is not None:
            raise error
        return value

    def _live(self) -> None:
        while (work := self._work.get()) is not None:
            work()
