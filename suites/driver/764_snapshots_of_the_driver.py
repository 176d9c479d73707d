"""This case checks that snapshots that QEMU makes through the driver keep one moment of a volume.

How: qemu-img makes two snapshots through the driver, with changes in between. Both are listed and
hold their moment. After one is deleted, the other and the volume are unchanged.
Guards: snapshot-not-point-in-time, snapshot-delete-shared-block.
"""

from qbdcheck.kit import NotRun, case
from qbdcheck.kit.expectations import expect_equal

KIB = 1 << 10


@case(
    groups="snapshot",
    requires="own_driver snapshot_read",
    limit_s=60,
    basis=("MUST: qemu-img(1), snapshot", "POLICY: snapshot-is-one-moment"),
)
def test(disk, qemu_io, qemu_img):
    def snapshots(*arguments):
        return qemu_img.run("snapshot", *arguments, disk.filename, check=False)

    def make(name):
        made = snapshots("-c", name)
        if "upport" in made.stderr:
            raise NotRun(f"the driver makes no snapshots: {made.stderr.strip()}")
        assert made.returncode == 0, f"qemu-img snapshot -c {name}: {made.stderr.strip()}"
        return disk.snapshot(name, take=False)

    def names():
        listed = snapshots("-l")
        assert listed.returncode == 0, f"qemu-img snapshot -l: {listed.stderr.strip()}"
        return sorted({"one", "two"} & set(listed.stdout.split()))

    one = make("one")
    with qemu_io(disk) as io:
        io.write(0, 300 * KIB)
        io.write_zeroes(500 * KIB, 100 * KIB)
    two = make("two")
    with qemu_io(disk) as io:
        io.write(100 * KIB, 450 * KIB)
    expect_equal(names(), ["one", "two"], "the names of the snapshots")
    one.verify()
    two.verify()
    assert snapshots("-c", "two").returncode, "a second snapshot named two was made"
    deleted = snapshots("-d", "one")
    assert deleted.returncode == 0, f"qemu-img snapshot -d one: {deleted.stderr.strip()}"
    expect_equal(names(), ["two"], "the names of the snapshots after one was deleted")
    two.verify()
    disk.verify()
