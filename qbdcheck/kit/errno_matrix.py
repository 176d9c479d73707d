"""The injected errnos, and what a client sees of each.

Reference: NBD document, "Error values" (eight errnos travel); nbd/server.c of QEMU,
system_errno_to_nbd_errno; block/nbd.c. The cases that measure it print one row for each errno;
tools/docs/errno_matrix.py generates docs/errno-matrix.md from their golden files.
"""

from __future__ import annotations

import errno as numbers
import os
from collections.abc import Callable
from functools import partial

from blockio.layers import Command, CommandFlag
from qbdcheck.kit.blkdebug import errno_of_failure
from qbdcheck.kit.block_job import finish_job
from qbdcheck.programs.monitored import Monitored
from qbdcheck.programs.qemu_io import IoFailed
from reference_backend.client import Client

CARRIED = ("EPERM", "EIO", "ENOMEM", "EINVAL", "ENOSPC", "EOVERFLOW", "ENOTSUP", "ESHUTDOWN")
"""Errnos that NBD carries unchanged."""
OTHERS = ("EROFS", "EDQUOT", "EFBIG", "ETIMEDOUT", "EACCES")
ERRNOS = {name: int(getattr(numbers, name)) for name in CARRIED + OTHERS}
"""Errno numbers by name."""
WIRE_COLUMNS = ("simple-read", "read", "read-DF", "write", "zeroes", "trim", "flush", "status")
"""Columns of `on_the_wire`. Commands after the reads are sent with both kinds of replies."""
_NAMES = {number: name for name, number in ERRNOS.items()}
_WIDTH = 13
_LENGTH = 4096


def named(number: int) -> str:
    """Return the name of an errno, ``ok`` for 0."""
    return _NAMES.get(number) or numbers.errorcode.get(number, str(number)) if number else "ok"


def named_text(text: str) -> str:
    """Return the name of the errno with this strerror text; any other text unchanged."""
    return next((name for name, number in ERRNOS.items() if os.strerror(number) == text), text)


def answer(request: Callable[[], object]) -> str:
    """Run a request; return ``ok``, the name of its errno, or ``dropped`` (connection closed)."""
    try:
        request()
    except ConnectionError:
        return "dropped"
    except IoFailed as failed:
        return named(errno_of_failure(failed))
    except OSError as failed:
        return named(failed.errno or 0)
    return "ok"


def row(*cells: str) -> str:
    """Return the cells as one line of a table."""
    return "".join(cell.ljust(_WIDTH) for cell in cells).rstrip()


def on_the_wire(connect: Callable[[bool], Client], at: int, *, status_at: int) -> list[str]:
    """Send all commands in all forms; return a result for each of `WIRE_COLUMNS`.

    Results that differ between simple and structured replies are given as ``A/B``.

    :param connect: makes a connection; its argument selects structured replies.
    :param at: offset in bytes of a range whose requests fail. :param status_at: the same for
        block status.
    """
    seen: dict[str, list[str]] = {column: [] for column in WIRE_COLUMNS}
    for structured in (False, True):
        client = connect(structured)
        length = _length(client)
        requests = _requests(client, at, structured=structured)
        if structured:
            requests["status"] = partial(client.block_status, status_at, length)
        # Last, because a server may drop the connection.
        requests["read" if structured else "simple-read"] = partial(client.read, at, length)
        for column, request in requests.items():
            seen[column].append(answer(request))
        client.close()
    return ["/".join(dict.fromkeys(seen[column])) for column in WIRE_COLUMNS]


def _length(client: Client) -> int:
    """Return 4096, or the minimum block if that is larger, in bytes."""
    return max(_LENGTH, client.block_sizes[0] if client.block_sizes else 1)


def _requests(client: Client, at: int, *, structured: bool) -> dict[str, Callable[[], object]]:
    """Return the requests that exist with both kinds of replies, and the read with DF."""
    length = _length(client)
    requests: dict[str, Callable[[], object]] = {
        "write": lambda: client.write(at, bytes([0x5A]) * length),
        "zeroes": lambda: client.write_zeroes(at, length),
        "trim": lambda: client.trim(at, length),
        "flush": client.flush,
    }
    if structured:
        requests["read-DF"] = lambda: client.call(Command.READ, at, length, flags=CommandFlag.DF)
    return requests


def of_a_backup(program: Monitored, source: str, size: int) -> str:
    """Return the errno with which a backup of an unreadable node ends.

    :param size: size of the node in bytes. The backup ends at its first error; its copy is
        discarded.
    """
    program.qmp("blockdev-add", driver="null-co", node_name="copy", size=size)
    program.qmp("blockdev-backup", job_id="job", device=source, target="copy", sync="full",
                auto_dismiss=False)  # fmt: skip
    end = finish_job(program)
    program.qmp("blockdev-del", node_name="copy")
    return named_text(end.error)
