"""Find out whether a target keeps what is written, before the claims that need data are tried.

A target that takes no write, or that forgets each of them, fails all these claims for one reason.
Examples are nbdkit with its plugins null and full, QEMU's null-co, an export of which a part cannot
be written, and a server that gives each connection a volume of its own.
"""

from __future__ import annotations

from qbdcheck.commands import connection_volumes
from qbdcheck.errors import ProgramError, SetupError
from qbdcheck.targets.disk import Disk
from qbdcheck.targets.disk_io import WrongData
from qbdcheck.targets.session import TargetSession

SIZE = 1 << 20
"""Bytes of the volumes that are tried."""
_BLOCK = 4096


class KeepsNothing(AssertionError):  # noqa: N818  # the verdict on a target
    """No claim that needs data can hold; the message says why in one sentence."""


def claim(session: TargetSession) -> str:
    """Check that data can be written and is read back.

    :raise KeepsNothing: no volume can be filled, nothing is read back, or only by the connection
        that wrote it.
    :raise AssertionError, ProgramError, ...: something else is wrong.
    """
    try:
        disk = session.new_disk(SIZE, format="raw")
    except SetupError as error:
        why = _cannot_be_filled(session)
        if why is None:  # the second one can: the first error has another cause
            raise
        raise KeepsNothing(why) from error
    try:
        return _read_back(session, disk)
    except AssertionError as error:
        if session.description.is_read_only:
            raise
        if session.description.nbd is not None and connection_volumes.has_own(session):
            raise KeepsNothing(connection_volumes.HINT) from None
        if isinstance(error, WrongData) and _forgets(session):
            raise KeepsNothing(
                "writes succeed, and none of their data is read back afterwards; "
                "the target does not store data"
            ) from error
        raise


def _read_back(session: TargetSession, disk: Disk) -> str:
    if session.description.is_read_only:
        with session.qemu_io(disk) as io:
            io.read(0, SIZE)
        disk.verify()
        return "the file behind the volume, read through qemu-io and qemu-img"
    with session.qemu_io(disk) as io:
        io.write(0, _BLOCK)
        io.write(SIZE - _BLOCK, _BLOCK)
        io.read(0, 2 * _BLOCK)
        io.flush()
    disk.verify()
    return "written, then read back through qemu-io and qemu-img"


def _cannot_be_filled(session: TargetSession) -> str | None:
    """Return why a fresh volume cannot be filled, as a sentence; None if it can."""
    if session.description.is_read_only:
        return None
    disk = session.new_disk(SIZE, prefill=False, format="raw")
    try:
        disk.prefill()
    except SetupError as error:
        reason = str(error).partition(" failed: ")[2] or str(error)
        return (
            f"no volume can be filled with data: {reason}; "
            "the cases need volumes that can be written from the first to the last byte"
        )
    return None


def _forgets(session: TargetSession) -> bool:
    """Return whether a fresh volume has neither of two blocks that were written to it."""
    disk = session.new_disk(SIZE, prefill=False, format="raw")
    seen = []
    try:
        with session.qemu_io(disk) as io:
            for offset in (0, SIZE - _BLOCK):
                io.write(offset, _BLOCK)
            for offset in (0, SIZE - _BLOCK):
                try:
                    io.read(offset, _BLOCK)
                except WrongData:
                    seen.append(offset)
    except (ProgramError, AssertionError):
        return False
    return len(seen) == 2
