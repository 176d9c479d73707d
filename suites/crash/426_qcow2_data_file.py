"""This case checks that no power cut damages a qcow2 image with an external data file.

How: image and data file are two windows of one volume behind one log, so writes to both can be lost
in any combination. Each state must pass qemu-img check and show old or new sectors.
Related: destage-reorder, flush-one-child-only, torn-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blockdev import json_filename, nbd_node, node, over
from qbdcheck.kit.crash.qcow2_judge import qcow2_judge

KIB = 1 << 10
IMAGE, DATA = 256 * KIB, 256 * KIB


@case(
    groups="crash states qcow2 flush slow",
    limit_s=60,
    requires="nbd",
    basis=("POLICY: image-survives-power-cut", "MUST: NBD, NBD_CMD_FLUSH"),
)
def test(new_disk, logged_image, qemu_io, qemu_img, storage_daemon, programs, scratch, seed, log):
    template = scratch / "template.qcow2"
    data = scratch / "template.data"
    qemu_img("create", "-q", "-f", "qcow2", "-o", f"data_file={data},cluster_size=4096",
             template, str(DATA))  # fmt: skip
    disk = new_disk(IMAGE + DATA, prefill=False)
    with qemu_io(disk.filename) as io:
        io(f"write -s {template} 0 {template.stat().st_size // 512 * 512}")
    logged = logged_image(disk, size=DATA)
    with storage_daemon() as daemon:
        daemon.add(logged.logging_node("logged"))
        daemon.export("logged")
        volume = nbd_node(scratch / f"{daemon.name}.nbd", "logged")
        image = node("raw", None, file=volume, offset=0, size=IMAGE)
        rest = node("raw", None, file=volume, offset=IMAGE, size=DATA)
        name = json_filename(over("qcow2", image, None, data_file=rest))
        with logged.through(qemu_io(name, cache="writeback")):
            for turn in range(3):
                logged.write(turn * 40_000, 9000)
                logged.write(turn * 10_000 + 500, 3000)
                logged.flush()
    judge = qcow2_judge(programs, logged.promises, data_at=IMAGE)
    result = logged.explore(judge, seed)
    log(result)
    result.must_be_clean()
