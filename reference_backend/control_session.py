"""One client of the control socket: check, execute and answer its messages."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

from blockio.errors import StoreError, VolumeNotFound
from reference_backend.control_commands import Arguments, Command, CommandError, query_version
from reference_backend.qmp_framing import MessageTooLong, Splitter

SEND_TIMEOUT_S = 5
"""A client that reads nothing for this many seconds is disconnected."""


class Session:
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
        """Send the greeting, then answer messages until the client leaves.

        :raise OSError: the connection broke.
        """
        self.send({"QMP": {"version": query_version({}), "capabilities": []}})
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
        """Send a message; disconnect the client if it does not read it."""
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
    """Return the command's name and arguments; errors have the wording of QEMU's qmp-dispatch.c."""
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
