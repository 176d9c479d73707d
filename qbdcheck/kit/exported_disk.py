"""A disk that QEMU exports over NBD, so that requests pass QEMU's block layer."""

from __future__ import annotations

from qbdcheck.errors import NotRun
from qbdcheck.programs.qmp import QmpFailed
from qbdcheck.targets.disk import Disk
from qbdcheck.targets.session import TargetSession


class ExportedDisk:
    """A disk exported by its own qemu-storage-daemon."""

    def __init__(self, session: TargetSession, disk: Disk) -> None:
        self._daemon = session.storage_daemon()
        self._disk = disk
        self._exports = 0
        self._uri = ""
        self._open()

    def uri(self) -> str:
        """Return the URI of the present export."""
        return self._uri

    def resize(self, size: int) -> None:
        """Resize the disk; its export is removed meanwhile, because it blocks a resize in QEMU.

        :raise NotRun: QEMU cannot resize the format.
        """
        exported = self._daemon.qmp("query-block-exports")[0]["id"]
        self._daemon.qmp("block-export-del", id=exported, mode="hard")
        self._daemon.wait_event("BLOCK_EXPORT_DELETED", id=exported)
        if self._disk.format == "raw":
            self._daemon.qmp("blockdev-del", node_name="target")
            self._disk.backend.resize(size)
            self._open()
            return
        try:
            self._daemon.qmp("block_resize", node_name="target", size=size)
        except QmpFailed as error:
            name = self._disk.format
            raise NotRun(f"QEMU cannot resize {name}: {error.description}") from None
        self._export()

    def close(self) -> None:
        """End the daemon."""
        self._daemon.close()

    def _open(self) -> None:
        self._daemon.add(self._disk.blockdev("target", discard="unmap"))
        self._export()

    def _export(self) -> None:
        self._exports += 1
        self._uri = self._daemon.export("target", f"target{self._exports}")
