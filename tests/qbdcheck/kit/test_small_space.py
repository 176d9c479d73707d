"""A file system of a few MiB below the volumes of a case."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from qbdcheck.files import ROOT

IN_CHROOT = """
import ctypes, errno, os, sys
from pathlib import Path
from qbdcheck.kit.small_space import limited_space
libc = ctypes.CDLL(None, use_errno=True)
root, is_chroot = sys.argv[1], sys.argv[2] == "chroot"
assert libc.unshare(0x20000) == 0 and libc.mount(b"none", b"/", None, 0x44000, None) == 0
assert libc.mount(b"tmpfs", f"{root}/tmp".encode(), b"tmpfs", 0, None) == 0
if is_chroot:
    os.chroot(root)
place = Path("/tmp/case" if is_chroot else f"{root}/tmp/case")
place.mkdir()
with limited_space(place, 1 << 20):
    try:
        (place / "much").write_bytes(bytes(2 << 20))
    except OSError as error:
        print(errno.errorcode[error.errno])
(place / "more").write_bytes(bytes(1 << 20))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
@pytest.mark.parametrize("where", ["chroot", "outside"])
def test_space_is_limited_also_where_the_root_is_no_mount_point(tmp_path: Path, where: str) -> None:
    (tmp_path / "tmp").mkdir()
    argv = [sys.executable, "-c", IN_CHROOT, str(tmp_path), where]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr, done.returncode) == ("ENOSPC\n", "", 0)
    assert not os.path.ismount(tmp_path / "tmp")
