"""Files made, replaced and removed in a guest, each durably, while what it writes is logged."""

from __future__ import annotations

from qbdcheck.crash.ext4_judge import FileHistory
from qbdcheck.crash.logged_image import LoggedImage
from qbdcheck.guest.guest import Guest

_TEXT = "0123456789abcdef"


def _content(number: int, lines: int) -> bytes:
    return f"{number:04}-{_TEXT}\n".encode() * lines


def run_file_workload(guest: Guest, logged: LoggedImage, rounds: int) -> FileHistory:
    """Mount the first disk; new files by fsync, replacements by rename, removals by sync.

    :param rounds: of three to four operations each.
    """
    history = FileHistory()
    guest.run(f"mount -t ext4 {guest.disks[0].path} /mnt && mkdir /mnt/d && sync")
    for number in range(rounds):
        lines = 1 + number * 37 % 200
        content = _content(number, lines)
        line = content.decode().splitlines()[0]
        write = f"yes {line} | head -n {lines} | dd bs=64k conv=fsync 2>/dev/null of=/mnt"
        replace = f"{write}/next && mv /mnt/next /mnt/current && sync"
        steps: list[tuple[str, bytes | None, str]] = [
            (f"d/new{number}", content, f"{write}/d/new{number}"),
            ("current", content, replace),
        ]
        if number % 3 == 2:
            gone = f"d/new{number - 2}"
            steps.append((gone, None, f"rm /mnt/{gone} && sync"))
        for name, data, command in steps:
            begun = logged.position
            guest.run(command)
            history.durable(name, data, begun, logged.position)
    return history
