"""A simulated remote host: a network namespace, reached by a pair of virtual interfaces (veth(4)).

Namespace, interfaces and addresses belong to a thread and to sockets of this process. The kernel
removes them when the process ends, for whatever reason (network_namespaces(7)); `close` removes
them at once.
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
from qbdcheck.machine_speed import elapsed_limit_s
from qbdcheck.programs.process import Completed, run

CLONE_NEWNET = 0x40000000
"""sched.h; os.unshare came with Python 3.12."""
COMMAND_TIMEOUT_S = 10.0


class NetnsHost:
    """A simulated host, reached by TCP over a link that can be down, slow or lossy.

    :raise NotRun: not root, no ip(8) or tc(8), or a kernel without network namespaces or veth.
    """

    def __init__(self) -> None:
        missing = [program for program in ("ip", "tc") if shutil.which(program) is None]
        if os.geteuid() != 0 or missing:
            why = f"no {' and no '.join(missing)}" if missing else "not root"
            raise NotRun(f"cannot simulate a host by a network namespace: {why}")
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()
        number = os.getpid()
        self.near, self.far = f"qn{number}", f"qf{number}"
        """Names of the two virtual interfaces."""
        net = f"10.{number >> 14 & 0xFF}.{number >> 6 & 0xFF}.{(number & 0x3F) << 2}"
        first, last = net.rsplit(".", 1)
        self.address = f"{first}.{int(last) + 2}"
        """IPv4 address of the simulated host."""
        try:
            thread_id = self._there(self._leave)
            self._ip(f"link add {self.near} type veth peer name {self.far} netns {thread_id}")
            self._ip(f"addr add {first}.{int(last) + 1}/30 dev {self.near}")
            self._ip(f"link set {self.near} up")
            self._ip(f"addr add {self.address}/30 dev {self.far}", there=True)
            self._ip(f"link set {self.far} up", there=True)
        except (OSError, ProgramError) as error:
            self.close()
            raise NotRun(f"cannot simulate a host by a network namespace: {error}") from None

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
        """Return a TCP socket that listens on the simulated host, on a free port."""

        def make() -> socket.socket:
            sock = socket.socket(socket.AF_INET)
            sock.bind((self.address, 0))
            sock.listen(64)
            return sock

        listener: socket.socket = self._there(make)
        return listener

    def unplug(self) -> None:
        """Set the link down: packets are lost, connections stay open."""
        self._ip(f"link set {self.far} down", there=True)

    def plug_in(self) -> None:
        """Set the link up."""
        self._ip(f"link set {self.far} up", there=True)

    def limit_rate(self, megabit_per_s: int) -> None:
        """Limit the rate in each direction (tc-tbf(8))."""
        self._set_qdisc(f"tbf rate {megabit_per_s}mbit burst 32kbit latency 400ms")

    def impair(self, *arguments: str) -> None:
        """Lose, delay or reorder packets in each direction: ``loss 2%``, ``delay 5ms``.

        :raise NotRun: the kernel has no netem (tc-netem(8)).
        """
        try:
            self._set_qdisc(f"netem {' '.join(arguments)}")
        except ProgramError as error:
            why = error.stderr.strip() or str(error)
            raise NotRun(
                f"the kernel has no netem, which loses and delays packets ({why})"
            ) from None

    def restore(self) -> None:
        """End what `limit_rate` and `impair` began."""
        for there, device in ((False, self.near), (True, self.far)):
            self._command(["tc", "qdisc", "del", "dev", device, "root"], there=there)

    def close(self) -> None:
        """Remove the host and its link."""
        with contextlib.suppress(ProgramError):
            self._ip(f"link del {self.near}")
        self._work.put(None)
        self._thread.join(COMMAND_TIMEOUT_S)

    # Inside --------------------------------------------------------------------------------------

    def _set_qdisc(self, options: str) -> None:
        for there, device in ((False, self.near), (True, self.far)):
            argv = ["tc", "qdisc", "replace", "dev", device, "root", *options.split()]
            self._command(argv, there=there)

    def _ip(self, options: str, *, there: bool = False) -> None:
        self._command(["ip", *options.split()], there=there)

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
        """Run a function in the thread of the simulated host; return or raise its result."""
        outcome: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

        def guarded() -> None:
            try:
                outcome.put((work(), None))
            except (OSError, ProgramError) as error:
                outcome.put((None, error))

        self._work.put(guarded)
        value, error = outcome.get(timeout=elapsed_limit_s(2 * COMMAND_TIMEOUT_S))
        if error is not None:
            raise error
        return value

    def _live(self) -> None:
        while (work := self._work.get()) is not None:
            work()
