"""A blocking QMP client: the qemu.qmp package with its event loop in a thread.

Specification: docs/interop/qmp-spec.txt of QEMU. The client talks to qemu-storage-daemon, to QEMU,
and to the control socket of a target that speaks QMP.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Coroutine, Mapping
from concurrent.futures import wait as wait_for
from pathlib import Path
from typing import Any, TypeVar

from qemu.qmp import EventListener, ExecuteError, QMPClient, QMPError

from qbdcheck.clock import pause
from qbdcheck.errors import ProgramError
from qbdcheck.machine_speed import Limit, patient_s

Event = dict[str, Any]
_T = TypeVar("_T")
CONNECT_STEP_S = 0.001


class QmpFailed(ProgramError):  # noqa: N818  # an outcome that cases expect
    """The peer refused a command: ``error_class`` such as ``GenericError``, ``description``."""

    def __init__(self, command: str, error_class: str, description: str) -> None:
        super().__init__(f"{command}: {description}", [command], None)
        self.error_class = error_class
        self.description = description


class Qmp:
    """One QMP connection.

    :param address: a connected socket, or the path of a Unix socket.
    :param name: name of the peer in messages.
    :param timeout_s: seconds that a command may take.
    :param greets: whether the peer greets and negotiates; QEMU's guest agent does not.
    :raise ProgramError: no QMP peer answers.
    """

    def __init__(
        self,
        address: socket.socket | Path,
        name: str,
        timeout_s: float = 30.0,
        *,
        greets: bool = True,
    ) -> None:
        self.name = name
        self.timeout_s = timeout_s
        self.events: list[Event] = []
        """All events so far, in order. `wait_event` does not change the list."""
        self._unseen: list[Event] = []
        self._arrived = threading.Condition()
        self._is_open = True
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name=f"qmp {name}", daemon=True
        )
        self._thread.start()
        self._client = QMPClient(name)
        self._client.logger.setLevel("CRITICAL")
        self._client.await_greeting = self._client.negotiate = greets
        target = address if isinstance(address, socket.socket) else str(address)
        try:
            self._call(self._open(target), timeout_s)
        except (QMPError, OSError, TimeoutError) as error:
            self.close()
            message = f"{name}: no QMP on its socket: {_reason(error)}"
            raise ProgramError(message, [name], None) from None

    async def _open(self, target: socket.socket | str) -> None:
        listener = EventListener()
        self._client.register_listener(listener)
        await self._client.connect(target)
        self._listening = asyncio.ensure_future(self._listen(listener))

    async def _listen(self, listener: EventListener) -> None:
        while True:
            message = await listener.get()
            with self._arrived:
                self.events.append(dict(message))
                self._unseen.append(dict(message))
                self._arrived.notify_all()

    def _call(self, work: Coroutine[Any, Any, _T], timeout_s: float) -> _T:
        limit, future = Limit(timeout_s), asyncio.run_coroutine_threadsafe(work, self._loop)
        while not future.done() and (left_s := limit.left_s()):
            wait_for([future], left_s)
        if not future.done():
            future.cancel()
            raise TimeoutError
        return future.result()

    def execute(self, command: str, /, arguments: Mapping[str, Any] | None = None) -> Any:
        """Run a command and return its ``return`` value.

        :raise QmpFailed: the peer refused the command.
        :raise ProgramError: the peer is gone, or did not answer in time.
        """
        if not self._is_open:
            raise ProgramError(f"{self.name}: is closed ({command})", [self.name], None)
        work = self._client.execute(command, dict(arguments) if arguments else None)
        try:
            return self._call(work, self.timeout_s)
        except ExecuteError as error:
            raise QmpFailed(command, error.error_class, str(error)) from None
        except TimeoutError:
            message = f"{self.name}: no answer to {command} within {patient_s(self.timeout_s):g} s"
            raise ProgramError(message, [self.name], None) from None
        except (QMPError, OSError, EOFError) as error:
            message = f"{self.name}: connection lost during {command}: {_reason(error)}"
            raise ProgramError(message, [self.name], None) from None

    def wait_event(self, event: str, /, within_s: float = 10.0, **match: object) -> Event:
        """Wait for the next event of a name whose ``data`` has these values. Return the event.

        Each event is returned once; the next call waits for the next event.

        :raise ProgramError: no such event came within ``within_s`` seconds.
        """
        limit = Limit(within_s)
        with self._arrived:
            while True:
                for index, message in enumerate(self._unseen):
                    if _matches(message, event, match):
                        return self._unseen.pop(index)
                if not self._arrived.wait(left_s := limit.left_s()) and left_s == 0:
                    seen = ", ".join(str(message["event"]) for message in self.events) or "none"
                    wanted = f"{event} {match}" if match else event
                    within = f"within {limit.seconds:g} s"
                    text = f"{self.name}: no event {wanted} {within}; events: {seen}"
                    raise ProgramError(text, [self.name], None)

    def close(self) -> None:
        """Disconnect. Never raises, because the peer may be dead."""
        if not self._is_open:
            return
        self._is_open = False
        with contextlib.suppress(Exception):
            self._call(self._shut(), 2.0)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(2.0)
        if not self._thread.is_alive():
            self._loop.close()

    async def _shut(self) -> None:
        with contextlib.suppress(Exception):
            await self._client.disconnect()
        listening = getattr(self, "_listening", None)
        if listening is not None:
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listening


def _matches(message: Event, event: str, match: Mapping[str, object]) -> bool:
    data = message.get("data", {})
    return message["event"] == event and all(data.get(key) == value for key, value in match.items())


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__


def connect_within(path: Path, name: str, within_s: float, *, greets: bool = True) -> Qmp:
    """Connect to a QMP socket that may not exist yet.

    :param greets: see `Qmp`.
    :raise ProgramError: nothing accepts connections within ``within_s`` seconds.
    """
    limit = Limit(within_s)
    while True:
        probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            probe.connect(str(path))
        except OSError as error:
            probe.close()
            if limit.is_over:
                message = f"{name}: nothing listens on {path}: {error.strerror}"
                raise ProgramError(message, [name], None) from None
            pause(CONNECT_STEP_S)
            continue
        probe.setblocking(False)
        return Qmp(probe, name, greets=greets)
