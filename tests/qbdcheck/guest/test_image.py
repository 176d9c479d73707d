"""The archive and the guest; the latter needs Debian's packages."""

import shutil
import subprocess
from pathlib import Path

import pytest

from qbdcheck.arguments import default_cache_dir
from qbdcheck.errors import NotRun
from qbdcheck.guest.cpio import Member, archive, directory
from qbdcheck.guest.guest import Guest, GuestFailed
from qbdcheck.guest.image import guest_image
from qbdcheck.programs.installed import Programs


def test_an_archive_is_one_of_newc(tmp_path: Path) -> None:
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


def test_a_guest_runs_commands_and_tells_of_failures(tmp_path: Path) -> None:
    try:
        image = guest_image(default_cache_dir({}))
    except NotRun as reason:
        pytest.skip(str(reason))
    assert guest_image(default_cache_dir({})) == image
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(1 << 20))
    blockdev = {"driver": "raw", "file": {"driver": "file", "filename": str(disk)}}
    guest = Guest(Programs(), tmp_path, image, blockdev)
    try:
        assert guest.run("echo $((6 * 7))") == "42\n"
        guest.run("echo written | dd of=/dev/vda conv=fsync 2>/dev/null")
        with pytest.raises(GuestFailed, match="'false' ended with 1"):
            guest.run("false")
        with pytest.raises(GuestFailed, match="'sleep 9' did not end"):
            guest.run("sleep 9", within_s=0.5)
    finally:
        guest.kill()
    assert disk.read_bytes().startswith(b"written\n")
    assert "@status 1" in (tmp_path / "guest.console.log").read_text()
