"""What a target can do: asked of the target itself, not of its profile.

Over NBD the handshake tells; without NBD, QEMU's programs are tried. What only the profile can tell
(that there is a way to resize, kill, crash) is taken from it, and proven by ``./check --probe``.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from oracles.stamps import SECTOR
from qbdcheck.errors import NotRun, ProgramError, SetupError
from qbdcheck.options import TargetOptions
from qbdcheck.targets.description import Description
from qbdcheck.targets.disk import Disk
from qbdcheck.targets.session import TargetSession
from reference_backend.nbd.agreement import ReplyMode
from reference_backend.nbd.constants import TransmissionFlag
from reference_backend.nbd.errors import NbdProtocolError, OptionRefused

PROBE_SIZE = (1 << 20) + 777
"""Bytes of the volume that is probed: no multiple of anything."""
EVEN_PROBE_SIZE = 1 << 20
PROBE_BLOCK = 4096
_FLAGS = {
    "flush": TransmissionFlag.SEND_FLUSH,
    "fua": TransmissionFlag.SEND_FUA,
    "discard": TransmissionFlag.SEND_TRIM,
    "write_zeroes": TransmissionFlag.SEND_WRITE_ZEROES,
    "fast_zero": TransmissionFlag.SEND_FAST_ZERO,
    "cache": TransmissionFlag.SEND_CACHE,
    "df": TransmissionFlag.SEND_DF,
    "multi_conn": TransmissionFlag.CAN_MULTI_CONN,
}
_known: dict[str, frozenset[str]] = {}


def capabilities(
    description: Description, options: TargetOptions, scratch_root: Path
) -> frozenset[str]:
    """Return the capabilities of a target, in the words of a case's ``requires``.

    Asked once per run: forked children have the answer of their parent. Takes two starts of the
    target. What the profile ``lacks`` is not there, whatever the target says.

    :param scratch_root: an existing directory; a private one is made in it and removed.
    :raise SetupError: the target does not come up.
    """
    key = description.model_dump_json()
    if key not in _known:
        _known[key] = _probe(description, options, scratch_root)
    return _known[key]


def _probe(description: Description, options: TargetOptions, scratch_root: Path) -> frozenset[str]:
    plain = replace(options, gdb=False, valgrind=False, cache="writeback", aio=None)
    found = set(declared(description))
    with Scratch(scratch_root) as scratch:
        try:
            session = TargetSession(description, plain, scratch)
            try:
                found.update(_of_volume(session))
                found.update(_of_options(session))
            finally:
                session.close()
        except NotRun as error:
            raise SetupError(f"target {description.name}: {error}") from None
        except ProgramError as error:
            raise SetupError(f"target {description.name} cannot be probed: {error}") from None
    return frozenset(found - set(description.lacks))


class Scratch:
    """A private directory for a probe, short enough for sockets, removed at the end."""

    def __init__(self, root: Path | None = None) -> None:
        self._root = root

    def __enter__(self) -> Path:
        try:
            self._path = Path(tempfile.mkdtemp(prefix="qp", dir=self._root))
        except OSError as error:
            raise SetupError(f"cannot make a directory for probing: {error.strerror}") from None
        return self._path

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._path, ignore_errors=True)


def declared(description: Description) -> Iterator[str]:
    """Give what the profile says that it has a way for."""
    ways = {
        "resize": description.volume.resize,
        "snapshot": description.volume.snapshot,
        "kill": description.kill,
        "crash": description.crash,
        "control": description.control,
        "nbd": description.nbd,
    }
    yield from (name for name, way in ways.items() if way is not None)
    if description.nbd is not None and "tls" in description.options:
        yield "tls"
    if "write_log" in description.options:
        yield "write_log"


def _of_volume(session: TargetSession) -> Iterator[str]:
    try:
        disk = session.new_disk(PROBE_SIZE, prefill=False, format="raw")
        size = PROBE_SIZE
    except SetupError:
        disk = session.new_disk(EVEN_PROBE_SIZE, prefill=False, format="raw", name="even")
        size = EVEN_PROBE_SIZE
    if disk.backend.uri is None:
        yield from of_driver(session, disk)
        seen = disk.volume_path.stat().st_size if disk.volume_path.is_file() else 0
    else:
        yield from of_handshake(session, disk)
        seen = size_seen(session, disk)
    yield from of_server(session, disk)
    if size == seen == PROBE_SIZE:
        yield "raw_size"
    if opens_with_native_aio(session, disk):
        yield "aio_native"


def of_handshake(session: TargetSession, disk: Disk) -> Iterator[str]:
    """Give what an NBD server offers."""
    try:
        client = session.nbd(disk)
    except (OSError, EOFError, NbdProtocolError, OptionRefused) as error:
        name = session.name
        raise SetupError(f"target {name}: no NBD handshake on {disk.uri}: {error}") from None
    with client:
        yield from (name for name, flag in _FLAGS.items() if client.flags & flag)
        if client.mode is not ReplyMode.SIMPLE:
            yield "structured"
        if "base:allocation" in client.contexts.values():
            yield "block_status"


def size_seen(session: TargetSession, disk: Disk) -> int:
    """Return the size in bytes that the server tells a raw client."""
    with session.nbd(disk, contexts=()) as client:
        return client.size


def of_driver(session: TargetSession, disk: Disk) -> Iterator[str]:
    """Give what QEMU's own driver does when it is asked to; an error is a no."""
    with session.qemu_io(disk) as io:
        io("write -P 1 0 64k")
        requests = {
            "flush": "flush",
            "fua": "write -f -P 1 0 4k",
            "write_zeroes": "write -z -u 64k 64k",
            "discard": "discard 128k 64k",
        }
        for name, command in requests.items():
            if "failed" not in io(command):
                yield name
    extents = session.qemu_img.json("map", disk.filename)
    if {extent["data"] for extent in extents} == {True, False}:
        yield "block_status"


def of_server(session: TargetSession, disk: Disk) -> Iterator[str]:
    """Give what the profile says of snapshots, clones and further volumes, where it works."""
    ways = disk.backend.description.volume
    size = disk.size
    try:
        if ways.snapshot_name is not None:
            snapshot = disk.snapshot("probe")
            if is_served(session, snapshot, size):
                yield "snapshot_read"
            if ways.clone is not None and is_served(session, snapshot.clone("clone"), size):
                yield "clone"
            if ways.snapshot_remove is not None:
                snapshot.remove()
                yield "snapshot_remove"
    except (ProgramError, SetupError):
        pass  # --probe says what went wrong
    try:
        if ways.add is not None:
            other = session.new_disk(2 * EVEN_PROBE_SIZE, prefill=False, format="raw", beside=disk)
            if is_served(session, other, 2 * EVEN_PROBE_SIZE) and is_served(session, disk, size):
                yield "add_volume"
    except (ProgramError, SetupError):
        pass


def is_served(session: TargetSession, disk: Disk, size: int) -> bool:
    """Say whether a client finds a volume of that size in bytes; QEMU rounds up to sectors."""
    if disk.backend.uri is None:
        seen: int = session.qemu_img.json("info", disk.filename)["virtual-size"]
        return seen == -(-size // SECTOR) * SECTOR
    try:
        return size_seen(session, disk) == size
    except (OSError, EOFError, NbdProtocolError, OptionRefused):
        return False


def opens_with_native_aio(session: TargetSession, disk: Disk) -> bool:
    """Say whether QEMU opens the volume with aio=native (which needs cache=none).

    Only its drivers of files and devices have aio modes (block/file-posix.c); others ignore them.
    """
    if disk.protocol_blockdev()["driver"] not in ("file", "host_device"):
        return False
    try:
        with session.qemu_io(disk, cache="none", aio="native") as io:
            return "failed" not in io("read 0 4k")
    except ProgramError:
        return False


def _of_options(session: TargetSession) -> Iterator[str]:
    """Give the options of the target that do something."""
    known = session.description.options
    wanted: dict[str, Any] = {}
    if "min_block" in known and "min_block" not in session.description.lacks:
        wanted["min_block"] = PROBE_BLOCK
    if "read_only" in known:
        wanted["read_only"] = True
    if not wanted:
        return
    disk = session.new_disk(EVEN_PROBE_SIZE, prefill=False, format="raw", name="options", **wanted)
    if disk.backend.uri is None:
        yield from wanted
        return
    with session.nbd(disk, contexts=()) as client:
        if client.block_sizes is not None and client.block_sizes[0] == wanted.get("min_block"):
            yield "min_block"
        if "read_only" in wanted and client.flags & TransmissionFlag.READ_ONLY:
            yield "read_only"
