"""The control socket: QMP, as QEMU's own clients speak it (qemu.qmp, qmp-shell).

From QEMU's docs/interop/qmp-spec.rst: a greeting with a version and capabilities;
``qmp_capabilities`` first; ``{"execute": NAME, "arguments": {}, "id": ANY}``; ``{"return": ANY,
"id": ANY}`` or ``{"error": {"class", "desc"}, "id": ANY}``; events ``{"event", "data",
"timestamp"}`` at any time after the negotiation. The commands are in control_commands.py.

The socket has mode 0600; every client may use all commands. The length of messages is limited
(qmp_framing.py). A client that does not read its replies and events is disconnected.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from reference_backend.control_commands import (
    ArgumentReader,
    Arguments,
    Command,
    CommandError,
    query_version,
)
from reference_backend.events import Events
from reference_backend.listener import listen

if TYPE_CHECKING:
    from reference_backend.control_session import Session

CLIENTS_MAX = 64


class Control:
    """A QMP server on a Unix socket.

    :param path: the path of the socket.
    :param events: the events that are sent to clients.
    :param on_quit: called after the reply to ``quit`` is sent.

    :attr:`commands` maps the name of a command to a function. It gets the ``arguments``
    dictionary, returns the value of ``return``, and raises CommandError, StoreError or ValueError.
    Commands may be added at any time.
    """

    def __init__(
        self, path: str, events: Events, on_quit: Callable[[], None] | None = None
    ) -> None:
        self.commands: dict[str, Command] = {
            "qmp_capabilities": _negotiated_already,
            "query-commands": self._query_commands,
            "query-version": query_version,
            "quit": _quit,
        }
        self._path = path
        self._on_quit = on_quit or _terminate
        self._lock = threading.Lock()
        self._clients: set[Session] = set()
        self._listening: socket.socket | None = None
        events.subscribe(self._send_event)

    def start(self) -> None:
        """Listen, and serve in the background.

        :raise OSError: listening on the path failed.
        """
        self._listening = listen(self._path)
        threading.Thread(target=self._accept, name="qmp-accept", daemon=True).start()

    def stop(self) -> None:
        """Stop listening, disconnect all clients, remove the socket."""
        listening, self._listening = self._listening, None
        if listening is None:
            return
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)  # noqa: PTH108  # pathlib is slow to load
        with self._lock:
            clients = list(self._clients)
        for client in clients:
            client.drop()

    def _send_event(self, event: str, data: Arguments) -> None:
        seconds, microseconds = divmod(time.time_ns() // 1000, 1_000_000)
        stamp = {"seconds": seconds, "microseconds": microseconds}
        with self._lock:
            clients = [client for client in self._clients if client.negotiated]
        for client in clients:
            client.send({"timestamp": stamp, "event": event, "data": data})

    def _query_commands(self, arguments: Arguments) -> list[dict[str, str]]:
        ArgumentReader(arguments).end()
        return [{"name": name} for name in sorted(self.commands)]

    def _accept(self) -> None:
        while (listening := self._listening) is not None:
            try:
                sock, _ = listening.accept()
            except OSError:
                if self._listening is not None:
                    time.sleep(0.01)  # out of descriptors: do not spin
                continue
            from reference_backend.control_session import Session  # json is slow to load

            try:
                client = Session(sock, self.commands, self._on_quit)
            except OSError:
                sock.close()
                continue
            with self._lock:
                is_accepted = len(self._clients) < CLIENTS_MAX
                if is_accepted:
                    self._clients.add(client)
            if not is_accepted:
                client.close()
                continue
            thread = threading.Thread(
                target=self._serve, args=(client,), name="qmp-client", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:  # the system has no more threads: end this client only
                self._forget(client)

    def _serve(self, client: Session) -> None:
        try:
            client.serve()
        except OSError:
            pass  # the client left, or was disconnected
        finally:
            self._forget(client)

    def _forget(self, client: Session) -> None:
        with self._lock:
            self._clients.discard(client)
        client.close()


def _negotiated_already(arguments: Arguments) -> Arguments:  # noqa: ARG001
    msg = "Capabilities negotiation is already complete, command ignored"
    raise CommandError(msg, "CommandNotFound")


def _quit(arguments: Arguments) -> Arguments:
    ArgumentReader(arguments).end()
    return {}


def _terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
