"""Volumes without an NBD server of their own, exported for the raw client by a storage daemon.

The raw client sends what QEMU's programs do not: many requests in flight, each with any flags and
each with its own answer. The driver of a target without NBD gets them from a qemu-storage-daemon
that opens the volume by it, and passes each request on as it is (nbd/server.c:
nbd_handle_request). What the server of such an export adds to NBD is QEMU's, not the target's. So
cases about the protocol require ``nbd``, and cases about data require ``raw_requests``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from qbdcheck.errors import ProgramError
from qbdcheck.programs.storage_daemon import StorageDaemon
from qbdcheck.targets.disk import Disk, Snapshot
from qbdcheck.targets.lifecycle import Backend
from qbdcheck.targets.sibling_export import SiblingExport

_WITH_LOCKS = frozenset(("file", "host_device"))
"""Drivers that lock the file (block/file-posix.c), so that no other program can open it."""
_NODE = "volume"


@dataclass(frozen=True)
class _Export:
    backend: Backend
    daemon: StorageDaemon
    uri: str


class DriverExports:
    """The exports of a case: one daemon for each volume that a raw client has connected to.

    :param start: starts a daemon that ends with the case.
    """

    def __init__(self, start: Callable[[], StorageDaemon]) -> None:
        self._start = start
        self._exports: list[_Export] = []

    def uri(self, disk: Disk) -> str:
        """Return the URI of the export of a disk's volume; the first call makes it.

        :raise ProgramError: the daemon does not start, or does not open the volume.
        """
        for export in self._exports:
            if export.backend is disk.backend:
                return export.uri
        is_read_only = isinstance(disk, Snapshot) or disk.backend.description.is_read_only
        options: dict[str, object] = {"discard": "unmap", "read-only": is_read_only}
        if disk.backend.blockdev["driver"] in _WITH_LOCKS:
            options["locking"] = "off"
        daemon = self._start()
        daemon.add(disk.protocol_blockdev(_NODE, **options))
        uri = daemon.export(_NODE, disk.backend.name, writable=not is_read_only)
        self._exports.append(_Export(disk.backend, daemon, uri))
        return uri

    def end_before_change(self, backend: Backend, *, orderly: bool, alone: bool) -> None:
        """End the exports of a volume, before its server ends or the volume changes.

        :param orderly: whether the daemon may flush and close the volume. It is killed otherwise:
            the power fails on both sides.
        :param alone: whether the other volumes of the server keep their exports.
        :raise ProgramError: a daemon died before, or does not end.
        """
        for export in list(self._exports):
            same = _server(export.backend) is _server(backend)
            if export.backend is backend or (same and not alone):
                self._exports.remove(export)
                self._end(export, orderly=orderly)

    def close(self) -> None:
        """End all exports.

        :raise ProgramError: a daemon died, or does not end.
        """
        with contextlib.ExitStack() as ends:
            for export in self._exports:
                ends.callback(self._end, export, orderly=True)
            self._exports = []

    @staticmethod
    def _end(export: _Export, *, orderly: bool) -> None:
        daemon = export.daemon
        if not orderly and daemon.process.is_running:
            daemon.kill()
            return
        try:
            daemon.close()
        except ProgramError as error:
            what = f"the export of volume {export.backend.name} by its driver"
            raise ProgramError(
                f"{what}: {error}", daemon.process.argv, error.returncode, daemon.process.output()
            ) from None


def _server(backend: Backend) -> Backend:
    return backend.host if isinstance(backend, SiblingExport) else backend
