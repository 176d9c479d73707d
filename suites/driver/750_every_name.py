"""This case checks that every way to name a volume to QEMU reaches the same data.

How: the same stamps are read, and a new part is written, by the plain file name, --image-opts,
json:, -drive, drive_add and blockdev-add; drive-mirror copies onto a second volume by its name.
Guards: wrong-volume-or-lun, misdirected-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blockdev import image_options, json_filename

PART = 64 << 10


@case(
    groups="names",
    requires="own_driver",
    programs="qemu-system-x86_64",
    limit_s=60,
    basis="MUST: QEMU, system/images",
)
def test(disk, new_disk, machine, qemu_io, qemu_img, scratch):
    name, other = disk.backend.filename, new_disk(disk.size, prefill=False)
    ways = (
        ("-f", "raw", name),
        ("--image-opts", image_options({"driver": "raw", "file": disk.protocol_blockdev()})),
        (json_filename({"driver": "raw", "file": disk.protocol_blockdev()}),),
    )
    for number, way in enumerate(ways):
        copy = scratch / f"copy{number}"
        qemu_img("convert", "-O", "raw", *way, copy)
        disk.judge(0, copy.read_bytes())
        with qemu_io(disk) as io:
            io.write(number * PART, PART)

    arguments = ["-drive", f"file={name},format=raw,if=none,id=drive"]
    with machine(*arguments, kind="pc") as vm:

        def human(line):
            return vm.execute("human-monitor-command", {"command-line": line})

        human(f"drive_add 0 file={name},format=raw,if=none,id=added")
        vm.add(disk.blockdev(node_name="node"))
        for number, node in enumerate(("drive", "added", "node"), len(ways)):
            human(f'qemu-io {node} "write -P {number} {number * PART} {PART}"')
            disk.shadow.write(number * PART, bytes([number]) * PART)
        target = other.backend.filename
        copied = {"device": "drive", "target": target, "format": "raw", "sync": "full",
                  "mode": "existing", "job-id": "mirror"}  # fmt: skip
        vm.execute("drive-mirror", copied)
        vm.wait_event("BLOCK_JOB_READY", device="mirror")
        vm.execute("block-job-complete", {"device": "mirror"})
        vm.wait_event("BLOCK_JOB_COMPLETED", device="mirror")
    disk.verify()
    disk.judge(0, other.read_all().tobytes())
