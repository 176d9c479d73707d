"""``cluster``: run one node, or all three, until SIGTERM, SIGINT or SIGHUP."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from reference_backend.cluster.file_disk import FileDisk
from reference_backend.cluster.gateway import Gateway
from reference_backend.cluster.messages import NODES
from reference_backend.cluster.node import Node
from reference_backend.cluster.process import NodeProcess
from reference_backend.cluster.replica import Replica
from reference_backend.cluster.volume import ClusterStore
from reference_backend.server import Server
from reference_backend.store.volume import Volume

GRANULE_BYTES = 4096
LARGEST = 1 << 30
"""The largest volume, in bytes: a node keeps a version of each granule in memory, reads all of them
at its start, and sends them as one table."""
_STOP = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


def serve_cluster(arguments: argparse.Namespace) -> int:
    """Run what the arguments say; return the exit status.

    :raise OSError: a store or an address cannot be used. :raise ValueError: wrong arguments.
    """
    if arguments.size % GRANULE_BYTES or not arguments.size:
        msg = f"--size {arguments.size}: must be a multiple of {GRANULE_BYTES}, at least one"
        raise ValueError(msg)
    if arguments.size > LARGEST:
        msg = f"--size {arguments.size}: a cluster has at most {LARGEST} bytes (1 GiB)"
        raise ValueError(msg)
    if not 0.1 <= arguments.slow_down <= 100:
        msg = f"--slow-down {arguments.slow_down}: must be from 0.1 to 100"
        raise ValueError(msg)
    directory = Path(arguments.dir)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)
    if arguments.node is None:
        return _run_all(arguments, directory)
    if arguments.node not in NODES:
        msg = f"--node {arguments.node}: the nodes are 1, 2 and 3"
        raise ValueError(msg)
    return _run_node(arguments, directory, arguments.node, arguments.socket)


def peers_of(texts: list[str], me: int, directory: Path) -> dict[int, str]:
    """Return the address of each other node: of ``N=PATH``, or that in the directory.

    :raise ValueError: a text is wrong.
    """
    peers = {one: str(directory / f"node-{one}.sock") for one in NODES if one != me}
    for text in texts:
        number, equals, path = text.partition("=")
        if not equals or not number.isdigit() or int(number) not in peers:
            msg = f"--peer {text}: write N=PATH, with the number of another node"
            raise ValueError(msg)
        peers[int(number)] = path
    return peers


def _run_node(arguments: argparse.Namespace, directory: Path, me: int, address: str) -> int:
    peers = peers_of(arguments.peer, me, directory)
    with ExitStack() as cleanup:
        disk = FileDisk(directory / f"store-{me}")
        cleanup.callback(disk.close)
        granules = arguments.size // GRANULE_BYTES
        replica = Replica(disk, granules, GRANULE_BYTES, time.time_ns())
        node = Node(me, replica, _clock(arguments.slow_down)())
        gateway = Gateway(replica.meta.incarnation * 4 + me, me)
        process = NodeProcess(
            node,
            gateway,
            str(directory / f"node-{me}.sock"),
            peers,
            clock=_clock(arguments.slow_down),
            on_leads=lambda epoch: _print(f"leads epoch {epoch}"),
        )
        process.start()
        cleanup.callback(process.stop)
        volume = Volume(ClusterStore(process, arguments.size, GRANULE_BYTES))
        server = Server({"": volume}, address)
        server.start()
        cleanup.callback(server.stop)
        _print(f"ready node {me} {address}")
        signal.sigwait(_STOP)
    return 0


def _clock(slow_down: float) -> Callable[[], float]:
    """Return a clock that rises slower than the real one by a factor."""
    return lambda: time.monotonic() / slow_down


def _run_all(arguments: argparse.Namespace, directory: Path) -> int:
    """Run each node in a child; all end when this process ends, also by SIGKILL."""
    alive, held = os.pipe()
    children = {}
    for one in NODES:
        address = arguments.socket if one == 1 else str(directory / f"nbd-{one}.sock")
        child = os.fork()
        if not child:
            os.close(held)
            os._exit(_run_child(arguments, directory, one, address, alive))
        children[child] = one
    os.close(alive)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    signal.sigwait(_STOP | {signal.SIGCHLD})
    os.close(held)
    status = 0
    for child in children:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)
        status |= os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return 2 if status else 0


def _run_child(
    arguments: argparse.Namespace, directory: Path, me: int, address: str, alive: int
) -> int:
    """Run a node in a child, which ends when the pipe says that the parent has ended."""
    import threading

    def watch() -> None:
        os.read(alive, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
    try:
        return _run_node(arguments, directory, me, address)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"reference_backend cluster: node {me}: {error}\n")
        return 2


def _print(line: str) -> None:
    with suppress(BrokenPipeError):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
