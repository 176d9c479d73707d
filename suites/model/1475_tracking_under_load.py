"""This case checks that change tracking knows each change around a snapshot taken under load.

How: two connections write in turns while a snapshot is taken. At rest, each block of the volume
that differs from the snapshot is dirty, whichever connection wrote it, and however its write and
the snapshot met.
Guards: lock-handover-untracked.
"""

import threading

from qbdcheck.kit import NotRun, case
from qbdcheck.kit.block_status import follow

KIB, ROUNDS, BLOCK = 1 << 10, 12, 4096
SIZE, TRACKING = 256 * KIB, "qbd:dirty"


@case(
    groups="bitmap snapshot concurrent model quick",
    requires="nbd snapshot snapshot_read structured multi_conn",
    basis="POLICY: dirty-bitmap-covers-all-changes",
)
def test(new_disk, nbd_io, nbd):
    disk = new_disk(SIZE)
    with nbd_io(disk, contexts=(TRACKING,)) as io, nbd_io(disk) as one, nbd_io(disk) as two:
        if not io.client.contexts:
            raise NotRun(f"the target has no context {TRACKING}")
        for round_ in range(ROUNDS):
            name = f"s{round_}"
            taking = threading.Thread(target=disk.backend.snapshot, args=(name,))
            taking.start()
            number = 0
            while taking.is_alive() or number < 8:
                (one, two)[number % 2].write(number * BLOCK % SIZE, BLOCK)
                number += 1
            taking.join()
            with nbd(disk.snapshot(name, take=False)) as frozen:
                before = bytes(frozen.read(0, SIZE))
            now = io.read(0, SIZE)
            for start, end, flags in follow(io.client, 0, SIZE)[TRACKING]:
                changed = [at for at in range(start, end, 512)
                           if before[at : at + 512] != now[at : at + 512]]  # fmt: skip
                wrong = f"{TRACKING}: sector {changed[0] // 512} changed" if changed else ""
                assert flags or not changed, f"{wrong} since the snapshot, but is clean"
