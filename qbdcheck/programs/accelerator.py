"""Probe whether an accelerator runs guests, by running one: /dev/kvm alone proves little.

On nested and sandboxed hosts /dev/kvm exists and opens, but a guest is very slow or hangs. The
probe is a boot sector. The BIOS loads it; it sets up paging, enters 64-bit mode, counts to four
million and writes to isa-debug-exit. QEMU then exits with 33. A real KVM needs 0.2 s for this, TCG
about the same. A KVM that emulates instructions in the host kernel needs 10 s.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from qbdcheck import clock
from qbdcheck.errors import ProgramError, SetupError
from qbdcheck.programs.process import describe_exit, run, tail

LIMIT_S = 3.0
_EXIT_STATUS = 33
"""isa-debug-exit turns the written byte, 0x10, into (0x10 << 1) | 1 (hw/misc/debugexit.c)."""

# 16-bit:  cli; ds = es = ss = 0; sp = 0x7000
#          zero 12 KiB at 0x1000 (page tables), then map the first 2 MiB one to one:
#          [0x1000] = 0x2003, [0x2000] = 0x3003, [0x3000] = 0x83
#          cr3 = 0x1000; cr4 |= PAE (0x20); EFER (0xc0000080) |= LME (0x100)
#          lgdt [0x7c90]; cr0 |= PG | PE; far jump to 8:0x7c68
# 64-bit:  ecx = 0x400000; add rax, rcx; loop; al = 0x10; out 0xf4, al; hlt forever
# data:    gdt: null, 64-bit code; gdtr
_BOOT_CODE = bytes.fromhex(
    "fa 31c0 8ed8 8ec0 8ed0 bc0070 bf0010 b90018 f3ab"
    "66c706 0010 03200000 66c706 0020 03300000 66c706 0030 83000000"
    "66b8 00100000 0f22d8 0f20e0 6683c820 0f22e0 66b9 800000c0 0f32 660d 00010000 0f30"
    "0f0116 907c 0f20c0 660d 01000080 0f22c0 ea 687c 0800"
    "b9 00004000 4801c8 e2fb b010 e6f4 f4 ebfd 0f1f8000000000"
    "0000000000000000 00000000009a2000 0f00 807c0000"
)
BOOT_SECTOR = _BOOT_CODE.ljust(510, b"\0") + b"\x55\xaa"


@dataclass(frozen=True)
class Accelerator:
    """The result for one accelerator. ``elapsed_s``: how long the probe guest ran, in seconds."""

    name: str
    works: bool
    elapsed_s: float
    reason: str = ""

    def __str__(self) -> str:
        if self.works:
            return f"yes: a probe guest ran in {self.elapsed_s:.2f} s"
        return f"no: {self.reason}"


def probe_accelerator(name: str, limit_s: float = LIMIT_S) -> Accelerator:
    """Boot a guest under accelerator `name` (``kvm`` or ``tcg``) for at most `limit_s` seconds."""
    if name == "kvm" and not Path("/dev/kvm").exists():
        return Accelerator(name, works=False, elapsed_s=0.0, reason="there is no /dev/kvm")
    with tempfile.TemporaryDirectory(prefix="qbdcheck-probe-") as directory:
        image = Path(directory, "boot.img")
        image.write_bytes(BOOT_SECTOR)
        began_s = clock.now_s()
        try:
            done = run(_command(name, image), timeout_s=limit_s, check=False)
        except SetupError as error:
            return Accelerator(name, works=False, elapsed_s=0.0, reason=str(error))
        except ProgramError:
            reason = f"a probe guest did not end within {limit_s:g} s"
            return Accelerator(name, works=False, elapsed_s=limit_s, reason=reason)
        elapsed_s = clock.now_s() - began_s
    if done.returncode == _EXIT_STATUS:
        return Accelerator(name, works=True, elapsed_s=elapsed_s)
    reason = tail(done.stderr, 1) or f"QEMU {describe_exit(done.returncode)}"
    return Accelerator(name, works=False, elapsed_s=elapsed_s, reason=reason)


def _command(accelerator: str, image: Path) -> list[str]:
    return [
        *["qemu-system-x86_64", "-accel", accelerator, "-machine", "pc", "-m", "16"],
        *["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"],
        *["-drive", f"file={image},format=raw,if=ide"],
        *["-device", "isa-debug-exit,iobase=0xf4,iosize=4"],
    ]
