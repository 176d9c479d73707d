"""This case checks that the actions of a transaction happen at one point in time, or not at all.

How: backups of two disks and a bitmap start together while both disks are written to. Both copies
must be of that moment. Transactions whose last action fails must leave bitmaps, jobs and disks as
before.
Related: snapshot-not-point-in-time, snapshot-map-under-io, wrong-volume-or-lun.
"""

from qbdcheck.kit import QmpFailed, case
from qbdcheck.kit.expectations import expect_equal

CHUNK = 64 << 10


def backup(name):
    """Return the action that backs up a disk into its copy, throttled."""
    return {"type": "blockdev-backup", "data": {
        "job-id": name, "device": name, "target": f"{name}.copy", "sync": "full", "speed": CHUNK,
        "auto-dismiss": False, "x-perf": {"max-workers": 1, "max-chunk": CHUNK}}}  # fmt: skip


def bitmap(action, name):
    """Return an action on a bitmap of the first disk."""
    return {"type": f"block-dirty-bitmap-{action}", "data": {"node": "a", "name": name}}


def bitmaps(qsd):
    """Return name and dirty bytes of the bitmaps of the first disk."""
    nodes = qsd.qmp("query-named-block-nodes", flat=True)
    node = next(node for node in nodes if node["node-name"] == "a")
    return {entry["name"]: entry["count"] for entry in node.get("dirty-bitmaps", [])}


@case(groups="job backup bitmap export errors", basis="MUST: QAPI, transaction")
def test(new_disk, qemu_io, storage_daemon, golden):
    disks, copies, ios = {}, {}, {}
    with storage_daemon() as qsd:
        for name in ("a", "b"):
            disks[name], copies[name] = new_disk("2M"), new_disk("2M")
            qsd.add(disks[name].blockdev(name))
            qsd.add(copies[name].blockdev(f"{name}.copy"))
            ios[name] = qemu_io(qsd.export(name), shadow=disks[name].shadow)
            ios[name].write(1 << 20, CHUNK)
        for failing in (
            [bitmap("add", "new"), bitmap("clear", "nosuch")],
            [bitmap("add", "new"), backup("a"), {**backup("b"), "type": "nosuch"}],
            [
                backup("a"),
                {"type": "blockdev-backup", "data": {**backup("b")["data"], "target": "x"}},
            ],
        ):
            try:
                qsd.qmp("transaction", actions=failing)
            except QmpFailed as error:
                golden(error.description)
            expect_equal(bitmaps(qsd), {}, "the bitmaps after a failed transaction")
            expect_equal(qsd.qmp("query-jobs"), [], "the jobs after a failed transaction")

        frozen = {name: disk.shadow.expected(0, disk.size) for name, disk in disks.items()}
        qsd.qmp("transaction", actions=[bitmap("add", "since"), backup("a"), backup("b")])
        for number in range(4):
            for io in ios.values():
                io.write(number * 8 * CHUNK + 10, 5000)
        expect_equal(
            {job["status"] for job in qsd.qmp("query-block-jobs")},
            {"running"},
            "the statuses of the jobs",
        )
        for name in disks:
            qsd.qmp("block-job-set-speed", device=name, speed=0)
        for name, io in ios.items():
            qsd.wait_job(name)
            io.flush()
            io.close()
        expect_equal(bitmaps(qsd), {"since": 4 * CHUNK}, "the bitmaps")
    for name, disk in disks.items():
        copies[name].shadow.write(0, frozen[name])
        copies[name].verify()
        disk.verify()
