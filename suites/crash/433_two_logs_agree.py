"""This case checks that the target's own write log and that of QEMU's blklogwrites agree.

How: a workload through blklogwrites to a target that keeps a log. Both logs have the same requests
with the same data, and the replay of each gives the volume. A discard may do less than it asks for;
its range is written again at once.
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


@case(groups="crash states self", requires="write_log", basis="MUST: qbdcheck, docs/crash-model.md")
def test(new_disk, logged_image, target, scratch, seed):
    unit = max(512, target.minimum_block)
    own = scratch / "own.writelog"
    disk = new_disk(2048 * unit, prefill=False, write_log=str(own))
    logged = logged_image(disk)
    random = seed.stream("workload")
    with logged.opened():
        for number in range(40):
            offset = random.randrange(0, disk.size - 20_000 * unit // 512) & -unit
            match number % 8:
                case 5:
                    logged.zero(offset, min(16 * unit, target.maximum_block))
                case 6:
                    logged.discard(offset, min(16 * unit, target.maximum_block))
                    logged.write(offset, min(16 * unit, target.maximum_block))
                case 7:
                    logged.flush()
                case _:
                    length = random.randrange(1, 40) * unit
                    logged.write(offset, min(length, target.maximum_block))
    of_target, of_qemu = read_log(own), logged.log()
    whole = disk.read_all().tobytes()
    for name, log in (("the target", of_target), ("blklogwrites", of_qemu)):
        same = replayed(log, disk.size) == whole
        assert same, f"the log of {name}, replayed, differs from the volume"
        flushes = sum(LogFlag.FLUSH in entry.flags for entry in log)
        assert flushes >= 5, f"the log of {name} has {flushes} flushes, expected at least 5"
    same = changes(of_target) == changes(of_qemu)
    assert same, "the logs of the target and of blklogwrites have different writes"
