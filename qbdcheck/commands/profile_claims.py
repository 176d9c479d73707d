"""The claims of a profile. Each is tried on a fresh volume and returns its result as text.

A claim that does not hold raises ProgramError, WrongData, AssertionError or OSError.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from blockio.layers import CommandFlag
from blockio.write_log import LogFlag, read_log
from oracles.stamps import SECTOR
from qbdcheck.commands import connection_volumes, kept_data
from qbdcheck.errors import ProgramError
from qbdcheck.targets.certificates import Authority
from qbdcheck.targets.disk import Disk
from qbdcheck.targets.disk_io import WrongData
from qbdcheck.targets.few_clients import MANY, clients_served, hint
from qbdcheck.targets.session import TargetSession
from qbdcheck.targets.size_limits import probe_sizes
from reference_backend.client import Client
from reference_backend.nbd.constants import TransmissionFlag
from reference_backend.nbd.errors import NbdError, NbdProtocolError, OptionRefused
from reference_backend.tls import client_context

Claim = Callable[[TargetSession], str]
SIZE = 1 << 20
BLOCK = 4096


def _block(session: TargetSession) -> int:
    """Return 4096, or the minimum block of the target if that is larger, in bytes."""
    return max(BLOCK, session.minimum_block)


def _start(session: TargetSession) -> str:
    disk = session.new_disk(SIZE, prefill=False, format="raw")
    with session.qemu_io(disk) as io:
        io("read 0 4k")
        io(f"read {SIZE - BLOCK} 4k")
    size = session.qemu_img.json("info", "-U", disk.filename)["virtual-size"]
    if size != _of_qemu(disk):
        raise AssertionError(f"the volume was created with {disk.size} bytes, QEMU sees {size}")
    return f"QEMU sees {size} bytes"


def _of_qemu(disk: Disk) -> int:
    """Return the size of a disk in bytes as QEMU shows it: in whole sectors."""
    return -(-disk.size // SECTOR) * SECTOR


def _fresh(session: TargetSession) -> str:
    """Check what a fresh volume reads as, before anything writes it."""
    disk = session.new_disk(SIZE, prefill=False, format="raw", zero=False)
    is_zero = not disk.read_all().any()
    if session.description.fresh == "undefined":
        return "read as zeroes here; the profile says undefined" if is_zero else "undefined data"
    if not is_zero:
        raise AssertionError(
            "a fresh volume does not read as zeroes; if this is intended, add fresh: undefined"
        )
    return "read as zeroes"


def _sizes(session: TargetSession) -> str:
    return str(probe_sizes(session))


def _stop(session: TargetSession) -> str:
    disk = session.new_disk(SIZE, format="raw")
    disk.backend.stop()
    disk.backend.start()
    try:
        disk.verify()
    except WrongData as error:
        raise AssertionError(
            f"if volumes live only as long as their server, write volatile: true\n{error}"
        ) from None
    return "the data is intact after stop and start"


def _written(session: TargetSession) -> Disk:
    """Return a prefilled disk with one write that is flushed and one that is not."""
    disk = session.new_disk(SIZE, format="raw")
    if session.description.is_read_only:
        return disk
    with session.qemu_io(disk) as io:
        io.write(0, 8 * BLOCK)
        io.flush()
    if "nbd" not in session.capabilities:
        return disk
    # A raw client, because qemu-io flushes when it closes.
    data = disk.shadow.stamped(16 * BLOCK, max(8 * BLOCK, session.minimum_block))
    with session.nbd(disk, contexts=()) as client:
        client.write(16 * BLOCK, data)
    disk.shadow.write(16 * BLOCK, data)
    return disk


def _kill(session: TargetSession) -> str:
    disk = _written(session)
    disk.backend.kill()
    disk.backend.start()
    disk.verify()
    return "flushed data is intact after kill and start"


def _crash(session: TargetSession) -> str:
    disk = _written(session)
    disk.backend.crash(seed=1)
    disk.verify()
    return "flushed data is intact after a crash"


def _resize(session: TargetSession) -> str:
    disk = session.new_disk(SIZE, format="raw")
    disk.resize(2 * SIZE)
    disk.verify()
    seen = session.qemu_img.json("info", "-U", disk.filename)["virtual-size"]
    if seen != _of_qemu(disk):
        raise AssertionError(f"resized to {disk.size} bytes, QEMU sees {seen}")
    disk.resize(SIZE // 2)
    disk.verify()
    return "grown (the new part reads as zeroes) and shrunk"


def _snapshot(session: TargetSession) -> str:
    disk = session.new_disk(SIZE, format="raw")
    disk.backend.snapshot("probe")
    disk.verify()
    return "taken; the volume is unchanged"


def _rewrite(session: TargetSession, disk: Disk) -> None:
    with session.qemu_io(disk) as io:
        io.write(0, 16 * BLOCK)
        io.flush()
    disk.verify()


def _snapshot_read(session: TargetSession) -> str:
    disk = session.new_disk(SIZE, format="raw")
    _rewrite(session, disk)
    snapshot = disk.snapshot("probe")
    _rewrite(session, disk)
    snapshot.verify()
    disk.verify()
    return "holds the data from before, and nothing that was written later"


def _snapshot_remove(session: TargetSession) -> str:
    disk = session.new_disk(SIZE, format="raw")
    older, newer = disk.snapshot("older"), disk.snapshot("newer")
    _rewrite(session, disk)
    older.remove()
    newer.verify()
    disk.verify()
    try:
        older.read_all()
    except ProgramError:
        return "cannot be read afterwards; the volume and another snapshot are unchanged"
    raise AssertionError("the snapshot can be read after it was removed")


def _clone(session: TargetSession) -> str:
    disk = session.new_disk(SIZE, format="raw")
    snapshot = disk.snapshot("probe")
    clone = snapshot.clone("clone")
    clone.verify()
    _rewrite(session, clone)
    _rewrite(session, disk)
    snapshot.verify()
    clone.verify()
    return "holds the data of the snapshot; a write to it changes nothing else"


def _add_volume(session: TargetSession) -> str:
    disk = session.new_disk(SIZE, format="raw")
    other = session.new_disk(2 * SIZE, format="raw", beside=disk)
    _rewrite(session, other)
    _rewrite(session, disk)
    other.verify()
    return "writes to one volume do not change the other"


def _volume_remove(session: TargetSession) -> str:
    disk = session.new_disk(SIZE, format="raw")
    if session.description.volume.clone is not None:
        snapshot = disk.snapshot("probe")
        extra, what = snapshot.clone("clone"), "clone"
    else:
        snapshot = None
        extra, what = session.new_disk(SIZE, format="raw", beside=disk), "further volume"
    extra.remove()
    if snapshot is not None:
        snapshot.verify()
    disk.verify()
    try:
        extra.read_all()
    except ProgramError:
        others = "the volume and its snapshot are" if snapshot is not None else "the volume is"
        return f"cannot be read afterwards; {others} unchanged"
    raise AssertionError(f"the {what} can be read after it was removed")


def _control(session: TargetSession) -> str:
    disk = session.new_disk(SIZE, prefill=False, format="raw")
    commands = disk.backend.control("query-commands")
    return f"QMP with {len(commands)} commands"


def _fua(session: TargetSession) -> str:
    disk = session.new_disk(SIZE, format="raw")
    with session.qemu_io(disk) as io:
        io.write(0, BLOCK, fua=True)
    disk.verify()
    return "a write with FUA succeeds"


def _flush(session: TargetSession) -> str:
    disk = session.new_disk(SIZE, format="raw")
    with session.qemu_io(disk) as io:
        io.write(0, BLOCK)
        io.flush()
    return "a flush succeeds"


def _discard(session: TargetSession) -> str:
    disk = session.new_disk(SIZE, format="raw")
    with session.qemu_io(disk) as io:
        io.discard(16 * BLOCK, 16 * BLOCK)
        seen = io.read(16 * BLOCK, 16 * BLOCK)
    disk.verify()
    return "then reads as zeroes" if not any(seen) else "then reads as before"


def _write_zeroes(session: TargetSession) -> str:
    disk = session.new_disk(SIZE, format="raw")
    with session.qemu_io(disk) as io:
        io.write_zeroes(16 * BLOCK, 16 * BLOCK, unmap=True)
        io.write_zeroes(64 * BLOCK, 16 * BLOCK)
    disk.verify()
    return "reads as zeroes; the data around it is unchanged"


def _fast_zero(session: TargetSession) -> str:
    disk = session.new_disk(SIZE, format="raw")
    with session.nbd(disk, contexts=()) as client:
        try:
            client.write_zeroes(0, 16 * BLOCK, CommandFlag.FAST_ZERO)
        except OSError:
            result = "refused, nothing changed"
        else:
            disk.shadow.zero(0, 16 * BLOCK)
            result = "done"
    disk.verify()
    return result


def _cache(session: TargetSession) -> str:
    disk = session.new_disk(SIZE, format="raw")
    result = "accepted"
    with session.nbd(disk, contexts=()) as client:
        try:
            client.cache(0, 16 * BLOCK)
        except NbdError as error:
            # "this bit does not guarantee that the command will succeed" (NBD, SEND_CACHE)
            if error.errno != errno.EINVAL:
                raise
            result = "refused with EINVAL, as the NBD document allows"
    disk.verify()
    return f"{result}, nothing changed"


def _df(session: TargetSession) -> str:
    disk = session.new_disk(SIZE, format="raw")
    with session.nbd(disk) as client:
        data = client.read(0, 16 * BLOCK, CommandFlag.DF)
    _judge(disk, 0, bytes(data))
    return "an unfragmented read returns the right data"


def _judge(disk: Disk, offset: int, data: bytes) -> None:
    findings = disk.shadow.check(offset, data)
    if findings:
        raise WrongData(f"read {len(data)} bytes at {offset}", findings)


def _structured(session: TargetSession) -> str:
    disk = session.new_disk(SIZE, format="raw")
    with session.nbd(disk, structured=True) as client:
        _judge(disk, 0, bytes(client.read(0, SIZE)))
    return "the whole volume was read in structured replies"


def _block_status(session: TargetSession) -> str:
    disk = session.new_disk(SIZE, prefill=False, format="raw")
    with session.qemu_io(disk) as io:
        io.write(0, 16 * BLOCK)
        io.flush()
    extents = session.qemu_img.json("map", "-U", disk.filename)
    end = max(extent["start"] + extent["length"] for extent in extents)
    if end != _of_qemu(disk):
        raise AssertionError(f"the extents end at {end}, the volume at {disk.size}")
    first = next(extent for extent in extents if extent["start"] == 0)
    if not first["data"] or first["zero"]:
        kind = "zeroes" if first["zero"] else "a hole"
        raise AssertionError(
            f"{16 * BLOCK} bytes were written at 0, and block status reports {kind} there "
            f"({first['length']} bytes from 0)"
        )
    count = len(extents)
    return f"{count} extent{'s' if count != 1 else ''} on a volume with one write"


def _multi_conn(session: TargetSession) -> str:
    disk = session.new_disk(SIZE, format="raw")
    with session.nbd(disk, contexts=()) as one, session.nbd(disk, contexts=()) as other:
        block = _block(session)
        data = disk.shadow.stamped(0, block)
        flushes = bool(other.flags & TransmissionFlag.SEND_FLUSH)
        one.write(0, data)
        if flushes:
            other.flush()
        disk.shadow.write(0, data)
        _judge(disk, 0, bytes(other.read(0, block)))
    covering = "a flush and a read" if flushes else "a read"
    return f"{covering} on one connection cover{'' if flushes else 's'} a write on another"


def _nbd(session: TargetSession) -> str:
    disk = session.new_disk(SIZE, prefill=False, format="raw")
    with session.nbd(disk) as client:
        if client.size != disk.size:
            wrong = f"the server reports {client.size} bytes, the volume has {disk.size}"
            raise AssertionError(wrong)
        return f"{client.mode.name.lower()} replies, {_block_sizes(client)}"


def _block_sizes(client: Client) -> str:
    """Return the advertised block sizes as text."""
    if client.block_sizes is None:
        return "no block sizes advertised"
    return "block sizes {}, {} and {}".format(*client.block_sizes)


def _refuses_writes(session: TargetSession) -> str:
    disk = session.new_disk(SIZE, format="raw")
    with session.qemu_io(disk) as io:
        answer = io("write -P 1 0 4k")
    if "wrote" in answer:
        raise AssertionError("a write was accepted; the profile says read-only: true")
    disk.verify()
    return "a write is refused, and the data stays"


def _few_clients(session: TargetSession) -> str:
    disk = session.new_disk(SIZE, prefill=False, format="raw")
    most = clients_served(disk)
    if most == MANY:
        raise AssertionError(f"{most} clients are served at a time")
    return hint(session.description, most)


CLAIMS: dict[str, Claim] = {
    "start": _start,
    "fresh": _fresh,
    "sizes": _sizes,
    "data": kept_data.claim,
    "stop": _stop,
    "kill": _kill,
    "crash": _crash,
    "resize": _resize,
    "snapshot": _snapshot,
    "snapshot_read": _snapshot_read,
    "snapshot_remove": _snapshot_remove,
    "clone": _clone,
    "add_volume": _add_volume,
    "volume_remove": _volume_remove,
    "control": _control,
    "flush": _flush,
    "fua": _fua,
    "discard": _discard,
    "write_zeroes": _write_zeroes,
    "fast_zero": _fast_zero,
    "cache": _cache,
    "df": _df,
    "structured": _structured,
    "block_status": _block_status,
    "multi_conn": _multi_conn,
    "nbd": _nbd,
    "refuses_writes": _refuses_writes,
    "volume_per_connection": connection_volumes.claim,
    "few_clients": _few_clients,
}
"""The claim of each capability. The other capabilities are proven by the probe itself."""

_SIZES = {"min_block": 0, "preferred_block": 1, "max_block": 2}
_VALUES = {"min_block": 4096, "preferred_block": 65536, "max_block": 1 << 20, "read_only": True}


def option_claim(option: str) -> Claim:
    """Return the claim that an option of the target has its effect."""

    def claim(session: TargetSession) -> str:
        if option in {"tls", "mutual_tls"}:
            return _tls(session, option)
        if option in {"write_log", "request_log"}:
            return _write_log(session, option)
        wanted: dict[str, Any] = {option: _VALUES[option]}
        disk = session.new_disk(SIZE, format="raw", **wanted)
        if option == "read_only":
            _is_read_only(session, disk)
            return "writes are refused"
        disk.verify()
        if disk.backend.uri is None:
            return "starts and keeps data"
        with session.nbd(disk, contexts=()) as client:
            seen, text = client.block_sizes, _block_sizes(client)
        if seen is None or seen[_SIZES[option]] != _VALUES[option]:
            raise AssertionError(f"started with {_VALUES[option]}: {text}")
        return text

    return claim


def _tls(session: TargetSession, option: str) -> str:
    authority = Authority("claims")
    server = authority.issue(session.scratch / f"{option}.server", "server")
    known = authority.issue(session.scratch / f"{option}.client", "client")
    wanted: dict[str, Any] = {option: str(server)}
    disk = session.new_disk(SIZE, prefill=False, format="raw", **wanted)
    with Client.connect(disk.uri, tls=client_context(known)) as client:
        client.write(0, bytes(_block(session)))
    try:
        session.nbd(disk)
    except (NbdProtocolError, OptionRefused, OSError):
        return "TLS works, plaintext is refused"
    raise AssertionError("the server accepted a client without TLS")


def _write_log(session: TargetSession, option: str) -> str:
    path = session.scratch / f"claim.{option}"
    wanted: dict[str, Any] = {option: str(path)}
    session.new_disk(SIZE, format="raw", **wanted)
    logged = sum(entry.length for entry in read_log(path) if not entry.flags & LogFlag.DISCARD)
    if logged < SIZE:
        raise AssertionError(f"{SIZE} bytes were written, the log has {logged}")
    return f"the log has {logged} written bytes"


def _is_read_only(session: TargetSession, disk: Disk) -> None:
    if disk.backend.uri is not None:
        with session.nbd(disk, contexts=()) as client:
            if not client.flags & TransmissionFlag.READ_ONLY:
                raise AssertionError("the server does not advertise read-only")
            try:
                client.write(0, bytes(_block(session)))
            except OSError:
                pass
            else:
                raise AssertionError("a write was accepted")
    with session.qemu_io(disk, read_only=True) as io:
        io.read(0, BLOCK)
