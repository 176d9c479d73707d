"""This case checks that qemu-io, a job and a device of QEMU report the errno of the node below.

How: blkdebug over the volume fails 13 sectors, each with its own errno. qemu-io sends all requests,
directly and over an export; a backup reads; an ATA disk reads. The golden is part of
docs/errno-matrix.md.
Related: errno-collapsed, async-error-ignored, missing-object-zero-fill.
"""

from functools import partial

from qbdcheck.kit import case
from qbdcheck.kit.ata_disk import DeviceError, ata_machine
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.blockdev import json_filename
from qbdcheck.kit.errno_matrix import ERRNOS, answer, named_text, of_a_backup, row
from qbdcheck.kit.expectations import expect_failure

SECTORS = {name: 256 + 8 * place for place, name in enumerate(ERRNOS)}
COLUMNS = ("write", "zeroes", "discard", "read", "nbd-write", "nbd-read", "job", "device")


@case(
    groups="inject errors export job device",
    basis=("SHOULD: NBD, Error values", "MUST: QAPI, BlockdevOptionsBlkdebug"),
)
def test(new_disk, qemu_io, storage_daemon, machine, scratch, golden):
    disk = new_disk("1M")
    rules = [error(number=ERRNOS[name], sector=sector) for name, sector in SECTORS.items()]
    faulty = blkdebug(disk.protocol_blockdev(), *rules, node_name="disk", discard="unmap")
    cells = {name: [] for name in ERRNOS}
    with qemu_io(json_filename(faulty)) as io:
        for name, sector in SECTORS.items():
            for command in ("write", "write -z", "discard", "read"):
                cells[name].append(answer(partial(io.request, f"{command} {512 * sector} 4096")))
    with storage_daemon() as qsd:
        qsd.add(faulty)
        uri = qsd.export("disk")
        for name, sector in SECTORS.items():
            io = qemu_io(uri)
            for command in ("write", "read"):
                cells[name].append(answer(partial(io.request, f"{command} {512 * sector} 4096")))
            io.close()
    with storage_daemon() as qsd:
        qsd.add(disk.protocol_blockdev("volume"))
        for name, number in ERRNOS.items():
            qsd.add(blkdebug("volume", error(number=number, iotype="read"), node_name=name))
            cells[name].append(of_a_backup(qsd, name, disk.size))
    with ata_machine(machine, scratch, faulty, rerror="report") as (vm, ata):
        for name, sector in SECTORS.items():
            with expect_failure(DeviceError, f"read of sector {sector} by the guest"):
                ata.read(sector)
            cells[name].append(named_text(vm.wait_event("BLOCK_IO_ERROR")["data"]["reason"]))
    golden(row("injected", *COLUMNS))
    for name, seen in cells.items():
        golden(row(name, *seen))
    disk.verify()
