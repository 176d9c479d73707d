"""This case checks that a write error of the backend is seen for its sectors, and for nothing else.

How: ENOSPC for writes that touch sectors 2048 to 2055; writes on both sides, a read there, and the
same write once the fault is healed.
Guards: async-error-ignored, errno-collapsed, error-kills-connection, transient-becomes-fatal.
"""

import pytest

from qbdcheck.kit import IoFailed, case

START, LENGTH = 1 << 20, 4096


@case(groups="errors rw quick")
def test(disk, qemu_io, rules):
    sectors = {"sector": "2048-2055", "iotype": "write"}
    fault = rules.add({"event": "write_aio", "errno": "ENOSPC", **sectors})
    with qemu_io(disk) as io:
        for offset in (START, START - 2048, START + LENGTH - 512):
            with pytest.raises(IoFailed) as caught:
                io.write(offset, LENGTH)
            assert caught.value.reason == "No space left on device"
        assert rules.seen(fault).fired == 3
        io.write(START - LENGTH, LENGTH)
        io.write(START + LENGTH, LENGTH)
        io.read(START - LENGTH, 3 * LENGTH)
        assert rules.seen(fault).fired == 3
        rules.heal()
        io.write(START, LENGTH)
    disk.verify()
