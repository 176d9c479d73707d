"""This case checks that flushed data, and data written with FUA, is not only in the page cache.

How: root reads the flags of the pages of the volume's raw file. Pages that are dirty after a write
must be clean when the flush is answered; those of a write with FUA when it is answered. A target
whose other files change too may keep the data there, and is not judged.
Guards: flush-noop.
"""

from qbdcheck.kit import NotRun, case
from qbdcheck.kit.page_cache import dirty_pages, has_data, needs_flags, others, raw_file

LENGTH, PLACES = 64 << 10, (0, 3 << 20, 8 << 20)


@case(
    groups="rw flush quick",
    requires="flush",
    basis=("MUST: NBD, NBD_CMD_FLUSH", "MUST: NBD, Command flags"),
)
def test(new_disk, qemu_io, target, log):
    disk = new_disk("16M", prefill=False)
    directory, judged = disk.backend.directory, 0
    server = disk.backend.pid if target.description.start else None
    with qemu_io(disk, cache="writeback") as io:  # with "unsafe", QEMU keeps a flush to itself
        io.write(0, LENGTH)
        io.flush()  # a server may keep data in its own memory until then
        file = raw_file(directory, 0, disk.shadow.expected(0, LENGTH))
        needs_flags(directory)
        for fua in (False, True) if "fua" in target.capabilities else (False,):
            for place in PLACES:
                offset = place + LENGTH * (1 + fua)
                io.write(offset, LENGTH)
                is_there = has_data(file, offset, disk.shadow.expected(offset, LENGTH))
                before = others(directory, file, server)
                dirty = dirty_pages(file, offset, LENGTH) if is_there else 0
                if fua:
                    io.write(offset, LENGTH, fua=True)
                else:
                    io.flush()
                log(f"{file.name}: {dirty} dirty pages at {offset}")
                if others(directory, file, server) != before:
                    raise NotRun("other files of the target change too: they may have the data")
                if not has_data(file, offset, disk.shadow.expected(offset, LENGTH)):
                    raise NotRun("the raw file of the volume lacks what was flushed")
                left = dirty_pages(file, offset, LENGTH)
                what = "a write with FUA" if fua else f"a write and a flush, with {dirty} before it"
                assert not left, (
                    f"{left} pages at offset {offset} are not on the disk after {what}:"
                    " the server answered without fsync"
                )
                judged += dirty + (not is_there)
    if not judged:
        raise NotRun(
            "no write of the target stayed in the page cache, so a flush had nothing to do"
        )
