"""The control socket: QMP, as QEMU's own clients speak it (qemu.qmp, qmp-shell).

From QEMU's docs/interop/qmp-spec.rst: a greeting with a version and capabilities;
``qmp_capabilities`` first; ``{"execute": NAME, "arguments": {}, "id": ANY}``; ``{"return": ANY,
"id": ANY}`` or ``{"error": {"class", "desc"}, "id": ANY}``; events ``{"event", "data",
"timestamp"}`` at any time after the negotiation. The commands are in control_commands.py.

The socket has mode 0600; whoever may connect may do everything. What a client sends is bounded
(qmp_framing.py), and so is what it does not read: a client that lags is dropped.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

from reference_backend.control_commands import Arguments, Command, CommandError, Taker
from reference_backend.events import Events
from reference_backend.listener import listen
from reference_backend.qmp_framing import MessageTooLong, Splitter
from reference_backend.store.errors import StoreError, VolumeNotFound

SEND_TIMEOUT_S = 5
"""A client that takes nothing for so long is dropped."""
CLIENTS_MAX = 64


class Control:
    """A QMP server on a Unix socket.

    :param path: of the socket. :param events: what clients are told of.
    :param on_quit: called after the reply to ``quit`` is sent.

    A command is a function in :attr:`commands` under its name: it gets the ``arguments``
    dictionary, returns what goes into ``return``, and raises CommandError, StoreError or
    ValueError. More may be put there at any time.
    """

    def __init__(
        self, path: str, events: Events, on_quit: Callable[[], None] | None = None
    ) -> None:
        self.commands: dict[str, Command] = {
            "qmp_capabilities": _negotiated_already,
            "query-commands": self._query_commands,
            "query-version": _query_version,
            "quit": _quit,
        }
        self._path = path
        self._on_quit = on_quit or _terminate
        self._lock = threading.Lock()
        self._clients: set[_Client] = set()
        self._listening: socket.socket | None = None
        events.subscribe(self._tell)

    def start(self) -> None:
        """Listen, and serve in the background.

        :raise OSError: the path cannot be listened on.
        """
        self._listening = listen(self._path)
        threading.Thread(target=self._accept, name="qmp-accept", daemon=True).start()

    def stop(self) -> None:
        """Stop listening, drop all clients, remove the socket."""
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

    def _tell(self, event: str, data: Arguments) -> None:
        seconds, microseconds = divmod(time.time_ns() // 1000, 1_000_000)
        stamp = {"seconds": seconds, "microseconds": microseconds}
        with self._lock:
            clients = [client for client in self._clients if client.negotiated]
        for client in clients:
            client.send({"timestamp": stamp, "event": event, "data": data})

    def _query_commands(self, arguments: Arguments) -> list[dict[str, str]]:
        Taker(arguments).end()
        return [{"name": name} for name in sorted(self.commands)]

    def _accept(self) -> None:
        while (listening := self._listening) is not None:
            try:
                sock, _ = listening.accept()
            except OSError:
                if self._listening is not None:
                    time.sleep(0.01)  # out of descriptors: do not spin
                continue
            client = _Client(sock, self.commands, self._on_quit)
            with self._lock:
                welcome = len(self._clients) < CLIENTS_MAX
                if welcome:
                    self._clients.add(client)
            if not welcome:
                client.close()
                continue
            name = "qmp-client"
            threading.Thread(target=self._serve, args=(client,), name=name, daemon=True).start()

    def _serve(self, client: _Client) -> None:
        try:
            client.serve()
        except OSError:
            pass  # it went away, or was dropped
        finally:
            with self._lock:
                self._clients.discard(client)
            client.close()


class _Client:
    """One QMP session."""

    def __init__(
        self, sock: socket.socket, commands: dict[str, Command], on_quit: Callable[[], None]
    ) -> None:
        self.negotiated = False
        self._sock = sock
        self._commands = commands
        self._on_quit = on_quit
        self._send_lock = threading.Lock()
        limit = struct.pack("ll", SEND_TIMEOUT_S, 0)  # struct timeval
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    def serve(self) -> None:
        """Greet, then answer messages until the client goes away.

        :raise OSError: it went away.
        """
        self.send({"QMP": {"version": _query_version({}), "capabilities": []}})
        splitter = Splitter()
        while data := self._sock.recv(65536):
            try:
                for text in splitter.feed(data):
                    self._handle(text)
            except MessageTooLong as error:
                self.send(_error("GenericError", f"JSON parse error, {error}"))
                return

    def _handle(self, text: bytes) -> None:
        try:
            message = json.loads(text)
        except (ValueError, RecursionError) as error:
            self.send(_error("GenericError", f"JSON parse error, {error}"))
            return
        reply = self._answer(message)
        if isinstance(message, dict) and "id" in message:
            reply["id"] = message["id"]
        self.send(reply)
        if "return" in reply and message.get("execute") == "quit":
            self._on_quit()

    def _answer(self, message: Any) -> Arguments:
        try:
            return {"return": self._run(message)}
        except CommandError as error:
            return _error(error.error_class, str(error))
        except VolumeNotFound as error:
            return _error("DeviceNotFound", str(error))
        except (StoreError, ValueError, OSError) as error:
            return _error("GenericError", str(error))

    def _run(self, message: Any) -> Any:
        name, arguments = _checked(message)
        if not self.negotiated:
            return self._negotiate(name, arguments)
        command = self._commands.get(name)
        if command is None:
            msg = f"The command {name} has not been found"
            raise CommandError(msg, "CommandNotFound")
        return command(arguments)

    def _negotiate(self, name: str, arguments: Arguments) -> Arguments:
        if name != "qmp_capabilities":
            msg = "Expecting capabilities negotiation with 'qmp_capabilities'"
            raise CommandError(msg, "CommandNotFound")
        if arguments.get("enable"):
            msg = "There are no capabilities to enable"
            raise CommandError(msg)
        self.negotiated = True
        return {}

    def send(self, message: Arguments) -> None:
        """Send a message whole; a client that does not take it is dropped."""
        data = json.dumps(message).encode() + b"\r\n"
        try:
            with self._send_lock:
                self._sock.sendall(data)
        except OSError:
            self.drop()

    def drop(self) -> None:
        """End the session; its thread closes the socket."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket."""
        with self._send_lock:
            self._sock.close()


def _checked(message: Any) -> tuple[str, Arguments]:
    """Return the command's name and arguments; wording of QEMU's qmp-dispatch.c."""
    problem = None
    if not isinstance(message, dict):
        msg = "QMP input must be a JSON object"
        raise CommandError(msg)
    name, arguments = message.get("execute"), message.get("arguments", {})
    for member in message:
        if member not in {"execute", "arguments", "id"}:
            problem = f"QMP input member '{member}' is unexpected"
    if "execute" not in message:
        problem = problem or "QMP input lacks member 'execute'"
    elif not isinstance(name, str):
        problem = "QMP input member 'execute' must be a string"
    elif not isinstance(arguments, dict):
        problem = "QMP input member 'arguments' must be an object"
    if problem:
        raise CommandError(problem)
    return str(name), arguments


def _error(error_class: str, description: str) -> Arguments:
    return {"error": {"class": error_class, "desc": description}}


def _query_version(arguments: Arguments) -> Arguments:
    """Return QMP's VersionInfo; ``package`` tells what this is."""
    Taker(arguments).end()
    return {"qemu": {"major": 0, "minor": 1, "micro": 0}, "package": "qbdcheck-reference-backend"}


def _negotiated_already(arguments: Arguments) -> Arguments:  # noqa: ARG001
    msg = "Capabilities negotiation is already complete, command ignored"
    raise CommandError(msg, "CommandNotFound")


def _quit(arguments: Arguments) -> Arguments:
    Taker(arguments).end()
    return {}


def _terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
