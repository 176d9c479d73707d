"""``serve``: set up a pool, layers, the NBD server and the control socket; run until stopped."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from blockio.layers import Layer
from blockio.sizes import parse_size
from reference_backend.blocking_requests import mark_under_way
from reference_backend.events import Events
from reference_backend.listener import Address
from reference_backend.nbd.settings import Features, Limits, TlsMode
from reference_backend.pool import Pool, VolumeOptions
from reference_backend.rule_layer import RuleLayer
from reference_backend.server import Server
from reference_backend.session import ConnectionInfo
from reference_backend.store.write_cache import DEFAULT_LIMIT_BYTES

if TYPE_CHECKING:
    from reference_backend.control import Control
    from reference_backend.fast_arguments import Arguments

_STOP = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


def serve(arguments: Arguments) -> int:
    """Serve until SIGTERM, SIGINT, SIGHUP or ``quit``; flush and return 0.

    :raise StoreError: a volume cannot be opened.
    :raise OSError: the server cannot listen on an address.
    :raise ValueError: the arguments do not fit together.
    """
    address = _address(arguments)
    pool = _pool(arguments)
    try:
        events = Events()
        layers = _with_rules(_rules(arguments), load_layers(arguments.layer))
        server = _server(arguments, pool, address, layers, events)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)
        try:
            with _running(arguments, server, pool, layers, events):
                signal.sigwait(_STOP)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    finally:
        pool.close()
    return 0


@contextlib.contextmanager
def _running(
    arguments: Arguments,
    server: Server,
    pool: Pool,
    layers: Sequence[Layer],
    events: Events,
) -> Iterator[None]:
    with contextlib.ExitStack() as cleanup:
        server.start()
        cleanup.callback(server.stop)
        if arguments.vhost_user:
            from reference_backend.vhost_user.back_end import BackEnd

            back_end = BackEnd(arguments.vhost_user, pool.open(pool.list()[0]), layers)
            back_end.start()
            cleanup.callback(back_end.stop)
        for layer in layers:
            if isinstance(layer, RuleLayer):
                cleanup.callback(layer.disarm)  # first: server.stop() waits for held requests
        if arguments.control:
            control = _control(arguments.control, server, pool, layers, events)
            control.start()
            cleanup.callback(control.stop)
        if arguments.pid_file:
            from pathlib import Path  # slow to load

            pid_file = Path(arguments.pid_file)
            pid_file.write_text(f"{os.getpid()}\n")
            cleanup.callback(pid_file.unlink, missing_ok=True)
        gc.freeze()  # these objects live on: exclude them from collections
        gc.enable()
        report_ready(arguments.ready_fd, server.address)
        yield


def _control(
    path: str, server: Server, pool: Pool, layers: Sequence[Layer], events: Events
) -> Control:
    """Return the control socket with all commands.

    A layer with a method ``control_commands(events)`` adds its own commands, functions by name.
    """
    from reference_backend.control import Control
    from reference_backend.control_commands import VolumeCommands

    control = Control(path, events)
    control.commands.update(VolumeCommands(server, pool, events).table())
    for layer in layers:
        of_layer = getattr(layer, "control_commands", None)
        if of_layer is not None:
            control.commands.update(of_layer(events))
    return control


def report_ready(descriptor: int | None, address: Address) -> None:
    """Write to a descriptor or stdout that the server accepts clients."""
    where = f"{address[0]}:{address[1]}" if isinstance(address, tuple) else str(address)
    line = f"ready {where}\n"
    if descriptor is None:
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.write(line)
            sys.stdout.flush()
        return
    os.write(descriptor, os.fsencode(line))
    os.close(descriptor)


def _address(arguments: Arguments) -> Address:
    if arguments.socket:
        return str(arguments.socket)
    host, colon, port = arguments.listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not port.isdigit() or int(port) > 65535:
        msg = f"--listen {arguments.listen}: write HOST:PORT, like 127.0.0.1:10809"
        raise ValueError(msg)
    if not arguments.allow_remote and not _is_loopback(host):
        msg = f"--listen {arguments.listen}: other machines could connect; add --allow-remote"
        raise ValueError(msg)
    return host, int(port)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _options(arguments: Arguments) -> VolumeOptions:
    minimum, maximum = arguments.min_block, arguments.max_block
    preferred = arguments.preferred_block or max(4096, minimum)
    if minimum & (minimum - 1) or not 1 <= minimum <= 65536:
        msg = f"--min-block {minimum}: must be a power of two, 1 to 65536"
        raise ValueError(msg)
    if preferred & (preferred - 1) or not max(512, minimum) <= preferred <= 32 << 20:
        msg = (
            f"--preferred-block {preferred}: must be a power of two,"
            " at least 512 and --min-block, at most 32M"
        )
        raise ValueError(msg)
    if maximum % minimum or not preferred <= maximum <= 0xFFFFFFFF:
        msg = (
            f"--max-block {maximum}: must be a multiple of --min-block,"
            " at least --preferred-block, at most 4G-1"
        )
        raise ValueError(msg)
    undo_limit = 0
    if arguments.control:
        undo_limit = DEFAULT_LIMIT_BYTES if arguments.undo_limit is None else arguments.undo_limit
    return VolumeOptions(
        undo_limit=undo_limit,
        write_through=arguments.write_cache == "through",
        block_sizes=(minimum, preferred, maximum),
        read_only=arguments.read_only,
    )


def _pool(arguments: Arguments) -> Pool:
    options = _options(arguments)
    if arguments.memory is not None:
        from reference_backend.memory_pool import MemoryPool

        volumes = [_named(text, arguments.memory) for text in arguments.export_name]
        return MemoryPool(options, volumes or [("", arguments.memory)])
    if arguments.image is not None:
        from reference_backend.file_pools import ImagePool

        if len(arguments.export_name) > 1:
            msg = "--image has one export: give --export-name once"
            raise ValueError(msg)
        return ImagePool(arguments.image, (*arguments.export_name, "")[0], options)
    from reference_backend.file_pools import DirectoryPool

    if arguments.export_name:
        msg = "--export-name cannot be used with --pool: its volumes have names"
        raise ValueError(msg)
    return DirectoryPool(arguments.pool, options)


def _named(text: str, default_size: int) -> tuple[str, int]:
    """Split ``NAME=SIZE``. An "=" that is not followed by a size is part of the name."""
    name, equals, size = text.rpartition("=")
    if equals:
        with contextlib.suppress(ValueError):
            return name, parse_size(size)
    return text, default_size


def _server(
    arguments: Arguments,
    pool: Pool,
    address: Address,
    layers: Sequence[Layer],
    events: Events,
) -> Server:
    if arguments.tls_required and not arguments.tls_certs:
        msg = "--tls-required requires --tls-certs DIR"
        raise ValueError(msg)
    context = None
    if arguments.tls_certs:
        from pathlib import Path

        from reference_backend.tls import server_context

        directory = Path(arguments.tls_certs)
        context = server_context(directory, verify_peer=arguments.tls_verify_peer)
    mode = TlsMode.REQUIRED if arguments.tls_required else None
    if arguments.max_connections is not None and arguments.max_connections < 1:
        msg = f"--max-connections {arguments.max_connections}: must be at least 1"
        raise ValueError(msg)
    limits = Limits()
    if arguments.max_connections is not None:
        limits = Limits(connections=arguments.max_connections)
    return Server(
        pool,
        address,
        layers=layers,
        features=Features(**{name.replace("-", "_"): False for name in arguments.without}),
        limits=limits,
        tls=context,
        tls_mode=mode,
        read_only=arguments.read_only,
        on_connect=lambda info: events.emit("CLIENT_CONNECTED", **_event_data(info)),
        on_disconnect=lambda info: events.emit("CLIENT_DISCONNECTED", **_event_data(info)),
    )


def _event_data(info: ConnectionInfo) -> dict[str, object]:
    return {
        "connection": info.number,
        "peer": info.peer,
        "export": info.export,
        "tls": info.tls,
    }


def _rules(arguments: Arguments) -> list[RuleLayer]:
    """Return the layer for rules, if there is a rules file or a control socket.

    :raise ValueError: the file is wrong.
    :raise OSError: the file cannot be read.
    """
    if not arguments.rules and not arguments.control:
        return []
    layer = RuleLayer(arguments.seed, on_pause=mark_under_way)
    if arguments.rules:
        with open(arguments.rules, encoding="utf-8") as file:  # noqa: PTH123  # pathlib is slow
            layer.load(file.read(), arguments.rules)
    return [layer]


def _with_rules(rules: Sequence[RuleLayer], layers: Sequence[Layer]) -> list[Layer]:
    """Return all layers: those with ``above_rules``, the rules, the others; else in their order."""
    above = [layer for layer in layers if getattr(layer, "above_rules", False)]
    return [*above, *rules, *(layer for layer in layers if layer not in above)]


def load_layers(texts: Sequence[str]) -> list[Layer]:
    """Return the layers of ``MODULE:CLASS[:KEY=VALUE...]``. The class converts the values.

    A layer whose class has ``is_on_top`` comes first: it sees what clients request.

    :raise ValueError: the module or class does not exist, or the class refuses its options.
    """
    layers = [_load_layer(text) for text in texts]
    return sorted(layers, key=lambda layer: not getattr(layer, "is_on_top", False))


def _load_layer(text: str) -> Layer:
    module_name, _, rest = text.partition(":")
    class_name, *options = rest.split(":")
    pairs = [option.partition("=") for option in options]
    if not module_name or not class_name or not all(equals for _, equals, _ in pairs):
        msg = f"--layer {text}: write MODULE:CLASS[:KEY=VALUE...]"
        raise ValueError(msg)
    try:
        make = getattr(importlib.import_module(module_name), class_name)
        layer: Layer = make(**{key: value for key, _, value in pairs})
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        msg = f"--layer {text}: {error}"
        raise ValueError(msg) from error
    return layer
