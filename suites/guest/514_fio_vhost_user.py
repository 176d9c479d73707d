"""This case checks that a guest's vhost-user-blk disk keeps data for all request sizes.

How: qemu-storage-daemon opens the target and exports it as vhost-user-blk. It shares the guest's
memory. fio writes and verifies blocks of several sizes. Stamps that the guest wrote are checked
from outside.
Guards: phantom-write, misdirected-write, extent-boundary-misroute.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal

RAM = "memory-backend-memfd,id=ram,size=512M,share=on"
STAMPED = 4 << 20
OPTIONS = "--ioengine=libaio --direct=1 --iodepth=16 --verify=md5 --filename=/dev/vdb"


@case(
    groups="guest device slow",
    programs="qemu-system-x86_64 qemu-storage-daemon",
    limit_s=180,
    basis=("MUST: QEMU, interop/vhost-user", "MUST: fio(1), verify"),
)
def test(disk, guest, fio, storage_daemon, scratch, log):
    daemon = storage_daemon()
    daemon.add({"node-name": "target", **disk.blockdev()})
    socket = scratch / "vhost.sock"
    daemon.execute(
        "block-export-add",
        {
            "type": "vhost-user-blk", "id": "vhost", "node-name": "target", "writable": True,
            "addr": {"type": "unix", "path": str(socket)}, "num-queues": 2,
        },
    )  # fmt: skip
    extra = ["-chardev", f"socket,id=vhost,path={socket}"]
    extra += ["-device", "vhost-user-blk-pci,id=vhost,chardev=vhost,num-queues=2,addr=12"]
    system = guest(ram=RAM, extra=extra, cpus=2)
    expect_equal(system.run("cat /sys/block/vdb/serial"), "vhost_user_blk", "serial of /dev/vdb")
    seen = int(system.run("blockdev --getsize64 /dev/vdb"))
    expect_equal(seen, disk.size, "size of /dev/vdb in bytes")
    run = fio(system)
    small = run("--name=small", *OPTIONS.split(), "--bs=4k", "--rw=randwrite", "--size=2m")
    log(*small.must_be_clean().summary())
    split = "--bssplit=512/30:4k/30:60k/20:300k/20 --blockalign=512 --rw=write --size=4m"
    run("--name=mixed", *OPTIONS.split(), *split.split()).must_be_clean()
    data = disk.shadow.stamped(STAMPED, 1 << 20)
    system.write_file("/tmp/stamped", bytes(data))
    dd = "dd if=/tmp/stamped of=/dev/vdb bs=256k oflag=direct conv=fsync 2>&1"
    system.run(f"{dd} seek={STAMPED >> 18}")
    disk.shadow.write(STAMPED, data)
    system.quit()
    daemon.close()
    disk.verify(STAMPED, disk.size - STAMPED)
