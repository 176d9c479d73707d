"""``proxy``: layers, above all faults, in front of any NBD server (the target).

Each client gets its own connection to the target and sees all that the target offers. When one side
disconnects, the proxy disconnects the other: a client notices when its target dies.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from typing import TYPE_CHECKING

from blockio.layers import Layer
from reference_backend.blocking_requests import mark_under_way
from reference_backend.client import parse_uri
from reference_backend.client_handshake import connect
from reference_backend.control import Control
from reference_backend.events import Events
from reference_backend.listener import Address, listen
from reference_backend.nbd.errors import NbdProtocolError
from reference_backend.proxy_handshake import Handshake, Stream
from reference_backend.proxy_session import ProxySession
from reference_backend.rule_layer import RuleLayer
from reference_backend.serving import load_layers, report_ready

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reference_backend.fast_arguments import Arguments

HANDSHAKE_S = 30.0
"""Time limit for the whole handshake, on both sides."""


class Proxy:
    """An NBD server on a Unix socket that forwards requests to another one.

    :param target: the address of the target.
    :param export: the export for the empty name.
    :param layers: the first one is on top; each sees all requests of all clients.
    """

    def __init__(
        self, path: str, target: Address, export: str, layers: Sequence[Layer], events: Events
    ) -> None:
        self._path = path
        self._target = target
        self._export = export
        self._layers = layers
        self._events = events
        self._listening: socket.socket | None = None
        self._lock = threading.Lock()
        self._open: dict[int, tuple[Stream, Stream]] = {}
        self._number = 0

    def start(self) -> None:
        """Listen, and serve in the background.

        :raise OSError: listening on the path failed.
        """
        self._listening = listen(self._path)
        accept = threading.Thread(target=self._accept, args=(self._listening,), daemon=True)
        accept.start()

    def stop(self) -> None:
        """Stop listening, disconnect all clients, remove the socket."""
        if self._listening is not None:
            self._listening.shutdown(socket.SHUT_RDWR)
            self._listening.close()
        with contextlib.suppress(FileNotFoundError):
            import os

            os.unlink(self._path)  # noqa: PTH108  # as in the server
        with self._lock:
            streams = [stream for pair in self._open.values() for stream in pair]
        for stream in streams:
            stream.shut()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                sock, _peer = listening.accept()
            except OSError:
                return
            try:
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()
            except RuntimeError:  # the system has no more threads: end this client only
                sock.close()

    def _serve(self, sock: socket.socket) -> None:
        """Run in the client's thread."""
        sock.settimeout(HANDSHAKE_S)
        client = Stream(sock)
        with contextlib.suppress(OSError, NbdProtocolError), contextlib.ExitStack() as ends:
            ends.callback(client.close)
            target = Stream(connect(self._target, HANDSHAKE_S))
            ends.callback(target.close)
            with self._lock:
                self._number += 1
                number = self._number
                self._open[number] = client, target
            ends.callback(self._forget, number)
            handshake = Handshake(client, target, self._export)
            if handshake.run():
                sock.settimeout(None)
                target.sock.settimeout(None)
                data = {"connection": number, "export": handshake.export}
                self._events.emit("CLIENT_CONNECTED", **data)
                ends.callback(self._events.emit, "CLIENT_DISCONNECTED", **data)
                ProxySession(number, client, target, handshake, self._layers).run()

    def _forget(self, number: int) -> None:
        with self._lock:
            del self._open[number]


def proxy(arguments: Arguments) -> int:
    """Serve until SIGTERM, SIGINT, SIGHUP or ``quit``; return 0.

    :raise ValueError: the URI or the rules are wrong.
    :raise OSError: a path cannot be used.
    """
    target, export, secure = parse_uri(arguments.to)
    if secure:
        msg = f"--to {arguments.to}: the proxy does not support TLS"
        raise ValueError(msg)
    rule_layer = RuleLayer(arguments.seed, on_pause=mark_under_way)
    if arguments.rules:
        with open(arguments.rules, encoding="utf-8") as file:  # noqa: PTH123  # as in serving
            rule_layer.load(file.read(), arguments.rules)
    layers = [rule_layer, *load_layers(arguments.layer)]
    events = Events()
    stop_signals = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, stop_signals)
    try:
        with contextlib.ExitStack() as cleanup:
            server = Proxy(arguments.socket, target, export, layers, events)
            server.start()
            cleanup.callback(server.stop)
            cleanup.callback(rule_layer.disarm)
            if arguments.control:
                control = Control(arguments.control, events)
                control.commands.update(rule_layer.control_commands(events))
                control.start()
                cleanup.callback(control.stop)
            report_ready(arguments.ready_fd, arguments.socket)
            signal.sigwait(stop_signals)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return 0
