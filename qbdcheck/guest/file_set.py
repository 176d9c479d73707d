"""Files of known content on a file system of a guest, to be written and checked later."""

from __future__ import annotations

from qbdcheck.guest.guest import Guest

_KEPT = "/tmp/kept"
_COMPARE_S = 120.0
_DIFFERENCE = (
    "{n++; if (n == 1) first = $1 - 1; last = $1 - 1; if ($3 == 0) zero++}"
    ' END {if (n) printf "%d bytes from %d to %d are wrong, %d of them are zero", n, first, last,'
    ' zero; else printf "it is cut off"}'
)
"""For awk: a sentence about the lines of `cmp -l`: position from 1, right and wrong byte in octal.
Random contents have a zero in each 256 bytes, so zeroed bytes are a little less than their range.
"""
_COMPARE = f"""
cd {_KEPT} || exit 2
find . -type f | sort | sed 's,^[.]/,,' | while read -r f; do
    cmp -s "$f" "DIRECTORY/$f" && continue
    [ -f "DIRECTORY/$f" ] || {{ echo "DIRECTORY/$f is missing"; continue; }}
    size=$(stat -c %s "$f"); now=$(stat -c %s "DIRECTORY/$f")
    [ "$size" = "$now" ] || {{ echo "DIRECTORY/$f has $now bytes, expected $size"; continue; }}
    echo "DIRECTORY/$f, $size bytes: $(cmp -l "$f" "DIRECTORY/$f" 2>&1 | awk '{_DIFFERENCE}')"
done
""".strip()


class FileSet:
    """Files of several sizes below a directory, some renamed, one removed, and copies of them.

    The copies are in the guest's memory, not on the disk that is checked.

    :raise GuestFailed: the files cannot be written.
    """

    def __init__(self, guest: Guest, directory: str) -> None:
        self._guest = guest
        self._directory = directory
        guest.run(
            f"mkdir -p {_KEPT}/deep/er && cd {_KEPT} && for i in 1 2 3 4 5 6 7 8; do"
            " head -c $((i * 70001)) /dev/urandom > file$i || exit 1; done"
            f" && cp file* {directory} && cd {directory} && mkdir -p deep/er"
            " && cp file3 deep/er/copy && mv file8 deep/moved && rm file5 && sync"
            f" && cd {_KEPT} && cp file3 deep/er/copy && mv file8 deep/moved && rm file5"
        )

    def add(self, name: str, size: int) -> None:
        """Write one more file, of `size` bytes."""
        kept = f"{_KEPT}/{name}"
        self._guest.run(
            f"head -c {size} /dev/urandom > {kept} && cp {kept} {self._directory} && sync"
        )

    def remove(self, name: str) -> None:
        """Remove a file."""
        self._guest.run(f"rm {self._directory}/{name} {_KEPT}/{name}")

    def must_be_intact(self) -> None:
        """Check that all files are there and unchanged.

        :raise GuestFailed: a file is missing or has other contents; names it, and the first and
            last wrong byte, counted from 0.
        """
        command = _COMPARE.replace("DIRECTORY", self._directory)
        wrong = self._guest.run(command, _COMPARE_S).strip().splitlines()
        if wrong:
            first, *others = wrong
            more = f"; wrong too: {'; '.join(others)}" if others else ""
            self._guest.fail(f"files of the guest are not as it wrote them: {first}{more}")
