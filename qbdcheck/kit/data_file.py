"""qcow2 images with their data on another volume (QEMU, interop/qcow2: external data file)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qbdcheck.programs.storage_daemon import StorageDaemon
    from qbdcheck.targets.disk import Disk


def create_over(
    storage_daemon: Callable[[], StorageDaemon], image: Disk, data: Disk, size: int, raw: bool
) -> None:
    """Create an empty image on a volume, with its data on another volume.

    blockdev-create does it: since QEMU 11 the option data_file of ``qemu-img create`` takes no
    name with a protocol.

    :param size: the virtual size of the image in bytes, a multiple of 512.
    :param raw: whether guest offsets are offsets of the data volume (data-file-raw).
    :raise QmpFailed: QEMU refused, or the target failed a request.
    """
    options = {"driver": "qcow2", "file": "image", "data-file": "data", "size": size}
    with storage_daemon() as daemon:
        daemon.add(image.protocol_blockdev("image"))
        daemon.add(data.protocol_blockdev("data"))
        job = {"job-id": "create", "options": {**options, "data-file-raw": raw}}
        daemon.execute("blockdev-create", job)
        daemon.wait_job("create")
