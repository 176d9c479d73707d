"""Files of known content on a file system of a guest, to be written and checked later."""

from __future__ import annotations

from qbdcheck.guest.guest import Guest

_SUMS = "/tmp/sums"


class FileSet:
    """Files of several sizes below a directory, some renamed, one removed, with their checksums.

    The checksums are in the guest's memory, not on the disk that is checked.

    :raise GuestFailed: the files cannot be written.
    """

    def __init__(self, guest: Guest, directory: str) -> None:
        self._guest = guest
        self._directory = directory
        self.count = 8
        guest.run(
            f"cd {directory} && for i in 1 2 3 4 5 6 7 8; do"
            " head -c $((i * 70001)) /dev/urandom > file$i || exit 1; done"
            " && mkdir -p deep/er && cp file3 deep/er/copy && mv file8 deep/moved && rm file5"
            f" && find $PWD -type f | grep -v lost+found | xargs sha256sum > {_SUMS} && sync"
        )

    def add(self, name: str, size: int) -> None:
        """Write one more file, of `size` bytes."""
        path = f"{self._directory}/{name}"
        self._guest.run(
            f"head -c {size} /dev/urandom > {path} && sha256sum {path} >> {_SUMS} && sync"
        )
        self.count += 1

    def remove(self, name: str) -> None:
        """Remove a file."""
        self._guest.run(f"rm {self._directory}/{name} && sed -i '/{name}$/d' {_SUMS}")
        self.count -= 1

    def must_be_intact(self) -> None:
        """Check that all files are there and unchanged.

        :raise GuestFailed: a file is missing or has other contents; names it.
        """
        self._guest.run(f"[ $(wc -l < {_SUMS}) = {self.count} ] && sha256sum -c {_SUMS}")
