"""Files of known content on a file system of a guest, to be written and checked later."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import shorten

from oracles.damage import Damage
from oracles.finding import Finding, Findings
from qbdcheck.guest.guest import Guest, GuestFailed

_KEPT = "/tmp/kept"
_COMPARE_S = 120.0
_COMMANDS_MAX, _COMMAND_MAX = 8, 60
"""Commands that a message names, and characters of each."""
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


class FilesDamaged(GuestFailed):
    """Files of the guest have other contents than it wrote; each is a finding.

    :param failed: has the message.
    :param wrong: a line for each file.
    """

    def __init__(self, failed: GuestFailed, wrong: Sequence[str]) -> None:
        super().__init__(str(failed), failed.argv, failed.returncode, failed.stdout)
        self.findings = Findings(Finding(Damage.FILE, remark=line) for line in wrong)


class FileSet:
    """Files of several sizes below a directory, some renamed, one removed, and copies of them.

    The copies are in the guest's memory, not on the disk that is checked.

    :raise GuestFailed: the files cannot be written.
    """

    def __init__(self, guest: Guest, directory: str) -> None:
        self._guest = guest
        self._directory = directory
        self._right_after: int | None = None
        """Commands of the guest that had ended when all files were right for the last time."""
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

        :raise GuestFailed: a file is missing or has other contents; names it, the first and last
            wrong byte, counted from 0, and what the guest did since the files were right.
        """
        ran = self._commands()
        command = _COMPARE.replace("DIRECTORY", self._directory)
        wrong = self._guest.run(command, _COMPARE_S).strip().splitlines()
        if wrong:
            first, *others = wrong
            more = f"; wrong too: {'; '.join(others)}" if others else ""
            what = f"files of the guest are not as it wrote them: {first}{more}{self._since(ran)}"
            try:
                self._guest.fail(what)
            except GuestFailed as failed:
                raise FilesDamaged(failed, wrong) from None
        self._right_after = len(self._commands())

    def _commands(self) -> list[str]:
        """Return the commands that the guest ran, the first one first, shortened."""
        lines = (one.text for one in self._guest.timeline() if one.channel == "agent")
        commands = (text[2:].partition("\n")[0] for text in lines if text.startswith("$ "))
        return [shorten(one, _COMMAND_MAX, placeholder=" ...") for one in commands]

    def _since(self, ran: list[str]) -> str:
        """Return the commands since the files were right, as a clause; "" if they never were."""
        if self._right_after is None:
            return ""
        commands = ran[self._right_after :][:_COMMANDS_MAX]
        return f"; all were right before these commands: {', '.join(commands) or 'none'}"
