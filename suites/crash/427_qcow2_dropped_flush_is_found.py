"""This case checks that the explorer finds and names a qcow2 image whose flushes are dropped.

How: the log of a workload without its flushes. The explorer must find lost data that the guest has
flushed, and corrupt metadata, each with the missing writes.
Related: flush-noop.
"""

from qbdcheck.kit import case
from qbdcheck.kit.crash.qcow2_judge import qcow2_judge
from qbdcheck.kit.crash.recorder import without_flushes


@case(groups="crash states qcow2 self", limit_s=60, basis="MUST: qbdcheck, docs/crash-model.md")
def test(new_disk, logged_image, programs, seed, golden, log):
    disk = new_disk("512k", prefill=False, format="qcow2")
    disk.create_image(disk.size, "cluster_size=4096")
    logged = logged_image(disk)
    with logged.opened():
        for number in range(4):
            logged.write(number * 100_000, 9000)
            logged.flush()
    judge = qcow2_judge(programs, logged.promises)
    lying = without_flushes(logged.log())
    result = logged.explore(judge, seed, log=lying, most=40)
    log(result, *result.wrong)
    for text in ("the guest's data is wrong", "qemu-img check: "):
        found = any(text in wrong.text for wrong in result.wrong)
        assert found, f"without flushes, no crash state with {text!r}: {result}"
        golden(f"found: {text.rstrip(': ')}")
    logged.explore(judge, seed).must_be_clean()
