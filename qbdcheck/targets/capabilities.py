"""Probe what a target can do. The target decides, not its profile.

Over NBD the handshake shows it. Otherwise QEMU's programs try it. If the raw NBD client cannot
connect but QEMU can, the target is probed through QEMU and loses the capability ``nbd``. What only
the profile can say (that there is an action to resize, kill, crash) comes from the profile, and
``./check --probe`` proves it.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from oracles.stamps import SECTOR
from qbdcheck.clock import pause
from qbdcheck.errors import NotRun, ProgramError, QbdcheckError, SetupError
from qbdcheck.options import TargetOptions
from qbdcheck.programs.installed import Programs
from qbdcheck.programs.qmp import QmpFailed
from qbdcheck.targets.advertised_sizes import remember, remember_step
from qbdcheck.targets.description import Description
from qbdcheck.targets.disk import Disk
from qbdcheck.targets.few_clients import MANY, clients_served, remember_clients
from qbdcheck.targets.readiness import HANDSHAKE_ERRORS
from qbdcheck.targets.run_server import start_shared
from qbdcheck.targets.server_death import ServerDiedError
from qbdcheck.targets.session import TargetSession
from qbdcheck.targets.size_limits import seen_size, step_between
from qbdcheck.targets.volume_state import State
from reference_backend.nbd.agreement import ReplyMode
from reference_backend.nbd.constants import Option, TransmissionFlag
from reference_backend.nbd.errors import OptionRefused

PROBE_SIZE = (1 << 20) + 777
"""Size of the probed volume in bytes: not a multiple of any usual block size."""
EVEN_PROBE_SIZE = 1 << 20
PROBE_BLOCK = 4096
_ENDING_S = 0.3
"""A server that ends closes and removes its socket first."""
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
_SHARED_DRIVERS = frozenset(("nbd", "file", "host_device"))
"""Drivers of QEMU that reach many backends. The cases of a driver are not for them."""
_known: dict[str, frozenset[str]] = {}


def capabilities(
    description: Description, options: TargetOptions, scratch_root: Path
) -> frozenset[str]:
    """Return the capabilities of a target, in the words of a case's ``requires``.

    The result is cached; forked children inherit it. Takes two starts of the target. A capability
    in ``lacks`` of the profile is left out.

    :param scratch_root: an existing directory. A private one is made in it and removed.
    :raise SetupError: the target does not start, or nothing can open its volume.
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
            programs = Programs(
                description.program_paths, build=description.build, install=description.install
            )
            start_shared(description, programs, scratch_root, print_server=options.print_server)
            session = TargetSession(description, plain, scratch)
            try:
                seen, has_nbd = _of_volume(session)
                found.update(seen)
                if not has_nbd:
                    found.discard("nbd")
                found.update(_of_options(session))
            except (OSError, EOFError, SetupError):
                _servers_must_run(session)
                raise
            finally:
                session.close()
        except NotRun as error:
            raise SetupError(f"target {description.name}: {error}") from None
        except (ProgramError, *HANDSHAKE_ERRORS) as error:
            raise SetupError(_cannot_be_probed(description.name, error)) from None
    return frozenset(found - set(description.lacks))


def _servers_must_run(session: TargetSession) -> None:
    """Stop the servers of a probe that failed: a client saw only that it cannot connect.

    :raise ServerDiedError: a server had ended; this says more.
    """
    pause(_ENDING_S)
    for backend in session.backends:
        if backend.state is State.RUNNING:
            try:
                backend.stop()
            except ServerDiedError:
                raise
            except QbdcheckError:
                continue


def _cannot_be_probed(target: str, error: Exception) -> str:
    """Return the message for a target that opens volumes, and then fails, as one line."""
    text = str(error).removeprefix(f"target {target}: ")
    if isinstance(error, ServerDiedError) and error.returncode == 0:
        text += (
            "; it must run until it is stopped, also after its last client has left"
            " (qemu-nbd needs --persistent for that)"
        )
    elif isinstance(error, OptionRefused) and error.option in list(Option):
        name = Option(error.option).name
        text = f"the server refused {name}:{text.partition('refused:')[2]}"
    return f"target {target} cannot be probed: {text}"


class Scratch:
    """A private directory for a probe. Its path is short enough for sockets; removed at the end."""

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
    """Yield the capabilities for which the profile has an action or a key."""
    keys = {
        "resize": description.volume.resize,
        "snapshot": description.volume.snapshot,
        "kill": description.kill,
        "crash": description.crash,
        "control": description.control,
        "nbd": description.nbd,
    }
    found = [name for name, key in keys.items() if key is not None]
    yield from found
    if {"kill", "crash"} & (set(found) - set(description.lacks)):
        yield "sudden_end"
    if description.nbd is not None and "tls" in description.options:
        yield "tls"
    yield from {"write_log", "request_log"} & set(description.options)
    if description.is_read_only:
        yield "refuses_writes"
    if description.has_volume_per_connection:
        yield "volume_per_connection"
    if description.vhost_user is not None:
        yield "vhost_user"
    if description.blockdev["driver"] not in _SHARED_DRIVERS:
        yield "own_driver"


def _of_volume(session: TargetSession) -> tuple[set[str], bool]:
    """Return the capabilities of a volume, and whether the raw NBD client can reach it."""
    try:
        disk = session.new_disk(PROBE_SIZE, prefill=False, format="raw")
        size = PROBE_SIZE
    except SetupError:
        disk = session.new_disk(EVEN_PROBE_SIZE, prefill=False, format="raw", name="even")
        size = EVEN_PROBE_SIZE
    has_nbd = disk.backend.uri is not None and reaches(session, disk)
    if has_nbd:
        found = {"raw_requests", *of_handshake(session, disk)}
        remember_clients(session.description, most := clients_served(disk))
        if most < MANY:
            found.add("few_clients")
        seen = size_seen(session, disk)
    else:
        found = {*of_driver(session, disk), *of_export(session, disk)}
        is_file = disk.protocol_blockdev()["driver"] == "file" and disk.volume_path.is_file()
        seen = disk.volume_path.stat().st_size if is_file else 0
    if not size == PROBE_SIZE <= seen_size(session, disk) <= PROBE_SIZE + SECTOR:
        remember_step(session.description, step_between(session))
    found.update(of_server(session, disk))
    if size == seen == PROBE_SIZE:
        found.add("raw_size")
    if opens_with_native_aio(session, disk):
        found.add("aio_native")
    return found, has_nbd


def reaches(session: TargetSession, disk: Disk) -> bool:
    """Return whether the raw NBD client can connect.

    :raise SetupError: neither the client nor QEMU can open the volume; with both reasons.
    """
    try:
        session.nbd(disk).close()
    except HANDSHAKE_ERRORS as error:
        try:
            session.qemu_io(disk, read_only=True).close()
        except ProgramError as of_qemu:
            raise SetupError(
                f"target {session.name}: no NBD handshake on {disk.uri}: {error}; "
                f"QEMU does not open it either: {of_qemu}"
            ) from None
        return False
    return True


def of_handshake(session: TargetSession, disk: Disk) -> Iterator[str]:
    """Yield what an NBD server offers in its handshake."""
    with session.nbd(disk) as client:
        remember(session.description, client.block_sizes)
        must_be_writable(session.description, client.flags)
        yield from (name for name, flag in _FLAGS.items() if client.flags & flag)
        if client.mode is not ReplyMode.SIMPLE:
            yield "structured"
        if "base:allocation" in client.contexts.values():
            yield "block_status"


def must_be_writable(description: Description, flags: int) -> None:
    """Check that the server lets clients write, unless the profile says otherwise.

    :param flags: the transmission flags of its handshake.
    :raise SetupError: the server says that the volume is read-only.
    """
    if flags & TransmissionFlag.READ_ONLY and not description.is_read_only:
        raise SetupError(
            f"target {description.name}: the server says that the volume is read-only; make it "
            "writable, or write read-only: true into blockdev: and the file behind the volume "
            "into path: (docs/targets.md, Read-only targets)"
        )


def size_seen(session: TargetSession, disk: Disk) -> int:
    """Return the size in bytes that the server reports to a raw client."""
    with session.nbd(disk, contexts=()) as client:
        return client.size


def of_driver(session: TargetSession, disk: Disk) -> Iterator[str]:
    """Yield each kind of request that QEMU's own driver supports.

    QEMU replaces what a driver lacks. So a request that fails has met a mistake of the driver: the
    cases shall run and show it.
    """
    if session.description.is_read_only:
        return
    with session.qemu_io(disk) as io:
        io("write -P 1 0 64k")
        requests = {
            "fua": "write -f -P 1 0 4k",
            "write_zeroes": "write -z -u 64k 64k",
            "discard": "discard 128k 64k",
        }
        for name, command in requests.items():
            if "not supported" not in io(command):
                yield name
    # Only the exit status of qemu-io shows that a flush failed.
    with contextlib.suppress(ProgramError), session.qemu_io(disk) as io:
        io("flush")
        io.close()
        yield "flush"
    extents = [
        extent
        for start in ("0", "64k", "128k")
        for extent in session.qemu_img.json("map", "--start-offset", start, disk.filename)
    ]
    if any(extent["zero"] or not extent["data"] for extent in extents):
        yield "block_status"


def of_export(session: TargetSession, disk: Disk) -> Iterator[str]:
    """Yield what a raw client can do with a volume that a storage daemon exports by its driver.

    Nothing, if this QEMU has no storage daemon, or if the driver does not let it open the volume. A
    daemon that dies is a mistake of the driver or of QEMU: the cases shall run and show it.
    """
    if session.description.is_read_only or session.programs.path("qemu-storage-daemon") is None:
        return
    try:
        uri = session.export(disk)
    except QmpFailed:
        return
    except ProgramError:
        yield "raw_requests"
        return
    yield "raw_requests"
    with session.nbd(uri, contexts=()) as client:
        if client.flags & TransmissionFlag.CAN_MULTI_CONN:
            yield "multi_conn"


def of_server(session: TargetSession, disk: Disk) -> Iterator[str]:
    """Yield the actions for snapshots, clones and further volumes that work."""
    keys = disk.backend.description.volume
    size = disk.size
    try:
        if keys.serves_snapshots:
            snapshot = disk.snapshot("probe")
            if is_served(session, snapshot, size):
                yield "snapshot_read"
            if keys.clone is not None:
                clone = snapshot.clone("clone")
                if is_served(session, clone, size):
                    yield "clone"
                if keys.volume_remove is not None:
                    clone.remove()
                    yield "volume_remove"
            if keys.snapshot_remove is not None:
                snapshot.remove()
                yield "snapshot_remove"
    except (ProgramError, SetupError):
        pass  # --probe reports the error
    try:
        if keys.add is not None:
            other = session.new_disk(2 * EVEN_PROBE_SIZE, prefill=False, format="raw", beside=disk)
            if is_served(session, other, 2 * EVEN_PROBE_SIZE) and is_served(session, disk, size):
                yield "add_volume"
            if keys.clone is None and keys.volume_remove is not None:
                other.remove()
                yield "volume_remove"
    except (ProgramError, SetupError):
        pass


def is_served(session: TargetSession, disk: Disk, size: int) -> bool:
    """Return whether a client sees a volume of ``size`` bytes. QEMU rounds sizes up to sectors."""
    if disk.backend.uri is None:
        seen: int = session.qemu_img.json("info", disk.filename)["virtual-size"]
        return seen == -(-size // SECTOR) * SECTOR
    try:
        return size_seen(session, disk) == size
    except HANDSHAKE_ERRORS:
        return False


def opens_with_native_aio(session: TargetSession, disk: Disk) -> bool:
    """Return whether QEMU opens the volume with aio=native, which requires cache=none.

    Only the drivers of files and devices have aio modes (block/file-posix.c).
    """
    if disk.protocol_blockdev()["driver"] not in ("file", "host_device"):
        return False
    try:
        with session.qemu_io(disk, cache="none", aio="native") as io:
            return "failed" not in io("read 0 4k")
    except ProgramError:
        return False


def _of_options(session: TargetSession) -> Iterator[str]:
    """Yield the options of the target that have an effect."""
    known = session.description.options
    wanted: dict[str, Any] = {}
    if "min_block" in known and "min_block" not in session.description.lacks:
        wanted["min_block"] = PROBE_BLOCK
    if "read_only" in known:
        wanted["read_only"] = True
    if not wanted:
        return
    disk = session.new_disk(
        EVEN_PROBE_SIZE, prefill=False, format="raw", name="options", zero=False, **wanted
    )
    if disk.backend.uri is None or not reaches(session, disk):
        yield from wanted
        return
    with session.nbd(disk, contexts=()) as client:
        if client.block_sizes is not None and client.block_sizes[0] == wanted.get("min_block"):
            yield "min_block"
        if "read_only" in wanted and client.flags & TransmissionFlag.READ_ONLY:
            yield "read_only"
