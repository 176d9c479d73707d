"""This case checks that node names are unique and well-formed, and lead to their own node.

How: names at the limit of 31 bytes, duplicates, bad characters, and removal of nodes in use. The
refusals are in the golden. Data must go through the node whose name was given.
Related: wrong-volume-or-lun.
"""

from qbdcheck.kit import QmpFailed, case

GOOD = ("a", "A", "n-1.b_c" + "n" * 24)
BAD = ("", "1disk", "-disk", "disk/0", "disk 0", "di\u00e9k", "#block1", "n" * 32)


@case(groups="names errors export", basis="MUST: QAPI, BlockdevOptions")
def test(new_disk, qemu_io, storage_daemon, golden):
    disks = {name: new_disk("64K") for name in GOOD}
    with storage_daemon() as qsd:
        for name, disk in disks.items():
            qsd.add(disk.blockdev(name))
        for name in BAD:
            refuse(golden, qsd.execute, "blockdev-add",
                   {"driver": "null-co", "node-name": name, "size": 512})  # fmt: skip
        refuse(golden, qsd.execute, "blockdev-add", {"driver": "null-co", "node-name": "a"})
        refuse(golden, qsd.execute, "blockdev-add", {"driver": "null-co"})
        for name, disk in disks.items():
            with qemu_io(qsd.export(name, f"export{len(name)}"), shadow=disk.shadow) as io:
                io.write(4096, 4096)
                io.flush()
            refuse(golden, qsd.qmp, "blockdev-del", node_name=name)
            qsd.qmp("block-export-del", id=qsd.qmp("query-block-exports")[0]["id"], mode="hard")
            qsd.wait_event("BLOCK_EXPORT_DELETED")
            qsd.qmp("blockdev-del", node_name=name)
        refuse(golden, qsd.qmp, "blockdev-del", node_name="a")
    for disk in disks.values():
        disk.verify()


def refuse(golden, command, *positional, **arguments):
    """Print the refusal of a command that must be refused."""
    try:
        command(*positional, **arguments)
    except QmpFailed as error:
        golden(error.description)
    else:
        raise AssertionError(f"{positional} {arguments}: expected an error, got success")
