"""This case checks that the target's own log of writes and that of QEMU's blklogwrites agree.

How: a workload through blklogwrites to a target that logs by itself: the same requests with the
same data in both logs; and either of them, replayed to its end, gives the volume as it is. A
discard may do less than was asked: what it covered is written again at once.
Guards: phantom-write, misdirected-write.
"""

from oracles.crash_states.states import CrashStates
from qbdcheck.kit import case
from qbdcheck.kit.reference import LogFlag, read_log


def changes(log):
    return [
        (entry.offset, entry.length, bytes(entry.data))
        for entry in log
        if entry.length and LogFlag.DISCARD not in entry.flags
    ]


def replayed(log, size):
    image = memoryview(bytearray(size))
    CrashStates(log, image, tear=0)
    return bytes(image)


@case(groups="crash states self", requires="write_log")
def test(new_disk, logged_image, scratch, seed):
    own = scratch / "own.writelog"
    disk = new_disk("1M", prefill=False, write_log=str(own))
    logged = logged_image(disk)
    random = seed.stream("workload")
    with logged.opened():
        for number in range(40):
            offset = random.randrange(0, disk.size - 20_000) & -512
            match number % 8:
                case 5:
                    logged.zero(offset, 8192)
                case 6:
                    logged.discard(offset, 8192)
                    logged.write(offset, 8192)
                case 7:
                    logged.flush()
                case _:
                    logged.write(offset, random.randrange(1, 40) * 512)
    of_target, of_qemu = read_log(own), logged.log()
    whole = disk.read_all().tobytes()
    assert replayed(of_target, disk.size) == replayed(of_qemu, disk.size) == whole
    assert changes(of_target) == changes(of_qemu)
    for log in (of_target, of_qemu):
        assert sum(LogFlag.FLUSH in entry.flags for entry in log) >= 5
