"""This case checks that fio in the guest, and stamps, find what the backend corrupts.

How: A rule corrupts one write at a known place. fio must name that block and no other, and dump it.
A stamped write of the guest is checked from outside.
Guards: silent-bit-flip, misdirected-write.
"""

import pytest

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal

AT = 1 << 20
STAMPED = 4 << 20


@case(
    groups="guest guest-quick inject",
    programs="qemu-system-x86_64",
    limit_s=120,
    basis="MUST: qbdcheck, docs/rules.md",
)
def test(disk, guest, fio, rules, log):
    rule = {"event": "write_aio", "iotype": "write", "action": "corrupt", "once": True}
    system = guest(disk)
    rules.add({**rule, "offset": f"{AT}+4K"})
    options = "--name=hurt --filename=/dev/vdb --ioengine=libaio --direct=1 --bs=4k --iodepth=8"
    options += " --size=2m --rw=randwrite --verify=md5 --verify_dump=1"
    run = fio(system)(*options.split())
    wrong = [(failure.file, failure.offset) for failure in run.result.failures]
    expect_equal(wrong, [("/dev/vdb", AT)], "fio, file and offset of each wrong block")
    assert run.dumps, "fio kept no dump of the wrong block"
    with pytest.raises(AssertionError, match=r"/dev/vdb offset 1048576, 4096 bytes"):
        run.must_be_clean()

    rules.add({**rule, "offset": f"{STAMPED}+64K"})
    data = disk.shadow.stamped(STAMPED, 65536)
    system.write_file("/tmp/stamped", bytes(data))
    system.run(f"dd if=/tmp/stamped of=/dev/vdb bs=64k seek={STAMPED >> 16} oflag=direct 2>&1")
    disk.shadow.write(STAMPED, data)
    system.quit()
    named = r"offset 4\d{6} .*bytes: .*(flip|unknown data)"
    with pytest.raises(AssertionError, match=named) as found:
        disk.verify(STAMPED, 1 << 20)
    log(found.value)
