"""This case checks that a guest's ext4 shows when a backend's flushes do nothing, with the cause.

How: a guest syncs files on the target, QEMU is killed and power cut: no file may be missing. Then
the same with a rule that makes each flush do nothing: the cut must lose a synced file. The target's
own log, which lacks the flushes, must give the explorer a state that names the missing writes.
Guards: flush-noop, flush-not-advertised.
"""

from oracles.crash_states.families import Bounds
from qbdcheck.kit import case
from qbdcheck.kit.crash.ext4_image import make_ext4
from qbdcheck.kit.crash.ext4_judge import Ext4Judge, judge_file
from qbdcheck.kit.crash.file_workload import run_file_workload
from qbdcheck.kit.reference import entries_in, read_log

SIZE = 8 << 20
EVER = 1 << 40
LIE = {"event": "flush_to_disk", "action": "lie"}


@case(
    groups="crash states guest flush inject self slow",
    requires="flush crash control write_log",
    programs="qemu-system-x86_64 e2fsck mke2fs",
    limit_s=180,
    basis="MUST: qbdcheck, docs/crash-model.md",
)
def test(new_disk, logged_image, guest, rules, qemu_img, scratch, seed, log, golden):
    for lies in (False, True):
        own = scratch / f"own{lies}.writelog"
        disk = new_disk(SIZE, prefill=False, write_log=str(own))
        make_ext4(disk, qemu_img, scratch)
        logged = logged_image(disk)
        first = entries_in(own)
        if lies:
            rules.on(disk).add(LIE)
        system = guest(disk)
        position = lambda own=own, first=first: entries_in(own) - first  # noqa: E731
        history = run_file_workload(system, position, 3, "-t ext4 /dev/vdb")
        system.kill()
        disk.backend.crash(seed=seed)
        after = scratch / "after.img"
        after.write_bytes(disk.read_all().tobytes())
        verdict = judge_file(history, after, EVER)
        result = logged.explore(
            lambda _, history=history: Ext4Judge(history),
            seed,
            log=read_log(own)[first:],
            acknowledged=history.acknowledged,
            bounds=Bounds(subsets=4, chance=16),
            tear=4096,
            most=1,
        )
        log(verdict, result, *result.wrong)
        lost = ("was durable", "e2fsck ended")
        named = any(text in wrong.text for wrong in result.wrong for text in lost)
        golden(
            f"flushes {'lie' if lies else 'work'}: a cut loses a synced file:"
            f" {any(text in verdict for text in lost)}, the explorer names it: {named}"
        )
