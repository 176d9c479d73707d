"""An installed LTP: its groups of tests, and the disk with which a guest gets it."""

from __future__ import annotations

from pathlib import Path

from qbdcheck.errors import ProgramError, UsageError
from qbdcheck.guest.guest import Guest, GuestFailed
from qbdcheck.guest.image import UTIL_LINUX_DIR
from qbdcheck.guest.runtest import Entry, parse
from qbdcheck.programs.process import run

ALIASES = {"io": ("aio01", "aio02")}
"""Groups that newer trees do not have, and the tests that were in them (LTP 20240524)."""
_LTP = "/opt/ltp"
_MODULES = "loop isofs squashfs binfmt_misc quota_v2 xfs"
"""Modules that LTP's tests look for, or that mount(2) could not load: they have no alias file."""


class LtpTree:
    """An installed LTP, given as a directory or a tar file.

    :raise UsageError: it has no runtest files or no tests.
    """

    def __init__(self, path: Path, scratch: Path) -> None:
        if path.is_file():
            place = scratch / "ltp"
            place.mkdir(parents=True)
            try:
                run(["tar", "-xf", path, "-C", place])  # tar recognises all compressions
            except ProgramError as error:
                raise UsageError(
                    f"--ltp {path}: {error}; give a tar file of `make install`"
                ) from None
            path = next((found.parent for found in place.rglob("runtest") if found.is_dir()), place)
        if not (path / "runtest").is_dir() or not (path / "testcases/bin").is_dir():
            raise UsageError(
                f"--ltp {path}: no runtest/ and testcases/bin/ in it; give what LTP's"
                " `make install` made, such as /opt/ltp"
            )
        self.path = path
        self._scratch = scratch

    def entries(self, group: str) -> list[Entry]:
        """Return the tests of a group, such as dio.

        :raise UsageError: the tree has no such file; names the files that it has.
        """
        file = self.path / "runtest" / group
        if file.is_file():
            return parse(file.read_text(encoding="utf-8"), f"runtest/{group}")
        if group in ALIASES:
            every = [
                entry
                for one in sorted((self.path / "runtest").iterdir())
                for entry in parse(one.read_text(encoding="utf-8"), f"runtest/{one.name}")
            ]
            return [entry for entry in every if entry.name in ALIASES[group]]
        known = ", ".join(sorted(one.name for one in (self.path / "runtest").iterdir()))
        raise UsageError(f"--ltp {self.path}: no runtest/{group}; there are {known}")

    def put_into(self, guest: Guest) -> dict[str, str]:
        """Mount the tree in a guest at /opt/ltp; return the variables that its tests need.

        The second disk of the guest, if it has one, becomes the device of tests that make a file
        system of their own (LTP_DEV). Without it they would use a loop device on the first.

        :raise GuestFailed: the tree cannot be mounted.
        """
        own = guest.disks[1].path if len(guest.disks) > 1 else ""
        image = self._scratch / "ltp.img"
        used = sum(one.stat().st_size for one in self.path.rglob("*") if one.is_file())
        size = used * 5 // 4 + (16 << 20)
        with image.open("wb") as file:
            file.truncate(size)
        arguments = ["-q", "-t", "ext4", "-O", "^has_journal", "-E", "root_owner=0:0", "-d"]
        run(["mke2fs", *arguments, self.path, image])
        node = {"driver": "file", "filename": str(image), "read-only": True}
        disk = guest.attach(node, identity="ltp")
        try:
            guest.run(f"mkdir -p {_LTP} && mount -t ext4 -o ro,noload {disk.path} {_LTP}")
        except GuestFailed as error:
            guest.fail(f"the LTP tree cannot be mounted: {error}")
        guest.execute(f"modprobe -a {_MODULES}")  # a custom guest may have them built in
        return {
            "LTPROOT": _LTP,
            "PATH": f"{_LTP}/testcases/bin:/usr/{UTIL_LINUX_DIR}:{guest.run('echo $PATH').strip()}",
            "LD_LIBRARY_PATH": f"{_LTP}/lib:{_LTP}/lib64", "LTP_COLORIZE_OUTPUT": "0",
            **({"LTP_DEV": own} if own else {}),
        }  # fmt: skip
