"""Files that a guest syncs one after the other until its power is cut, and a check after the cut.

After each cut, everything that fsync promised must be there: the contents of a file, and after an
fsync of its directory also its last name (fsync(2)). A file must not have other contents.
"""

from __future__ import annotations

from qbdcheck.guest.guest import Guest
from qbdcheck.guest.runtest import FILE_SYSTEMS

_LOAD = (
    "cd /mnt; n={first}; while [ $n -le {last} ]; do"
    " head -c $((n % 7 * 9000 + 100)) /dev/urandom > tmp$n; sha256sum < tmp$n > sum$n;"
    " sync tmp$n sum$n && mv tmp$n file$n && sync . && echo $n > /tmp/synced.new &&"
    " mv /tmp/synced.new /tmp/synced || exit 1; n=$((n+1)); done"
)
_CHECK = (
    'cd /mnt; for f in file*; do n=${{f#file}}; [ "$(sha256sum < file$n)" = "$(cat sum$n)" ]'
    " || echo WRONG $f; done; for n in {promised}; do [ -e file$n ] || echo LOST file$n; done;"
    " echo END"
)
_PRUNE = (
    "cd /mnt; for f in file* sum*; do n=${{f#file}}; n=${{n#sum}}; [ $n -gt {last} ] || rm $f; done"
)
_KEPT = 30
"""The number of latest files that are kept. Older ones are removed, without a sync."""
_FIRST = 3
"""Files that are synced before a cut may happen."""
_MAKE_S = 180.0


class SyncedFiles:
    """The files of one disk, over several starts of its guest.

    :param kind: ext4 or xfs.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.synced: list[int] = []
        """Numbers of the files that fsync reported to be on the disk."""
        self._next = 1

    def make(self, guest: Guest) -> None:
        """Make the file system on the guest's first disk, and mount it.

        :raise GuestFailed: the file system cannot be made.
        """
        guest.run(f"{FILE_SYSTEMS[self.kind][0]} {guest.disks[0].path}", _MAKE_S)
        self._mount(guest)
        guest.run("rm -rf /mnt/*")

    def _mount(self, guest: Guest) -> None:
        if self.kind == "xfs":
            guest.run("modprobe xfs")
        guest.run(f"mkdir -p /mnt && mount {guest.disks[0].path} /mnt")

    def begin(self, guest: Guest, more_writes: int) -> None:
        """Let the guest write and sync some files, and continue in the background.

        :param more_writes: number of writes that must end after these files were synced, before
            this returns. With 0 the guest stops, and no write comes after its last flush.
        :raise GuestFailed: the files are not synced.
        """
        wanted = self._next + _FIRST - 1
        guest.begin(_LOAD.format(first=self._next, last=wanted if not more_writes else 10**9))
        guest.run(
            f"until [ $(cat /tmp/synced 2>/dev/null || echo 0) -ge {wanted} ]; do sleep 0.05; done"
        )
        self.synced += range(self._next, int(guest.run("cat /tmp/synced")) + 1)
        if more_writes:
            guest.wait_writes(guest.disks[0], more_writes)

    def must_be_there(self, guest: Guest) -> None:
        """Mount in a new guest, which recovers the journal; check all files and the file system.

        The file system is mounted again afterwards.

        :raise AssertionError: a synced file is lost, or a file has other contents.
        :raise GuestFailed: the file system cannot be mounted, or is damaged.
        """
        self._mount(guest)
        lines = guest.run(_CHECK.format(promised=" ".join(map(str, self.synced)))).split("\n")
        assert lines[:-1] == ["END"], f"{self.kind} after the cut: {', '.join(lines[:-2])}"
        last = guest.run("cd /mnt; ls | grep -o '[0-9]*$' | sort -n | tail -n 1")
        self._next = int(last) + 1
        path = guest.disks[0].path
        guest.run(f"rm -f /mnt/tmp*; umount /mnt && {FILE_SYSTEMS[self.kind][1]} {path} 2>&1")
        self._mount(guest)
        oldest = self.synced[-1] - _KEPT
        self.synced = [one for one in self.synced if one > oldest]
        guest.run(_PRUNE.format(last=oldest))
