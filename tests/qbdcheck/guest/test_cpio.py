"""The archive that the kernel unpacks."""

import shutil
import subprocess
from pathlib import Path

from qbdcheck.guest.cpio import Member, archive, directory


def test_an_archive_has_the_newc_format(tmp_path: Path) -> None:
    members = [
        directory("bin"),
        Member("bin/a", b"hello", 0o755),
        Member("empty"),
        Member("bin/link", link="a"),
    ]
    data = archive(members)
    assert len(data) % 4 == 0
    assert data.count(b"070701") == 5
    if shutil.which("busybox") or shutil.which("cpio"):
        program = ["cpio"] if shutil.which("cpio") else ["busybox", "cpio"]
        subprocess.run([*program, "-i", "-d"], cwd=tmp_path, input=data, check=True)
        assert (tmp_path / "bin/a").read_bytes() == b"hello"
        assert (tmp_path / "bin/link").readlink() == Path("a")
        assert (tmp_path / "bin/a").stat().st_mode & 0o777 == 0o755
