"""Makes, replaces and removes files in a guest, each durably, while its writes are logged."""

from __future__ import annotations

from collections.abc import Callable

from qbdcheck.guest.guest import Guest
from qbdcheck.kit.crash.file_history import FileHistory

_TEXT = "0123456789abcdef"


def _content(number: int, lines: int) -> bytes:
    return f"{number:04}-{_TEXT}\n".encode() * lines


def run_file_workload(
    guest: Guest, position: Callable[[], int], rounds: int, mount: str
) -> FileHistory:
    """Mount a disk and change files durably; return their history.

    New files by fsync, replacements by rename, removals and several files together by sync.

    :param position: returns the number of log entries.
    :param rounds: number of rounds of three to four operations.
    :param mount: arguments of mount(8): ``-t ext4 /dev/vdb``.
    """
    history = FileHistory()
    guest.run(f"mount {mount} /mnt && mkdir -p /mnt/d && sync")
    for number in range(rounds):
        lines = 1 + number * 37 % 200
        content = _content(number, lines)
        line = content.decode().splitlines()[0]
        write = f"yes {line} | head -n {lines} | dd bs=64k conv=fsync 2>/dev/null of=/mnt"
        steps: list[tuple[dict[str, bytes | None], str]] = [
            ({f"d/new{number}": content}, f"{write}/d/new{number}"),
            ({"current": content}, f"{write}/next && mv /mnt/next /mnt/current && sync"),
            _together(number),
        ]
        if number % 3 == 2:
            gone = f"d/new{number - 2}"
            steps.append(({gone: None}, f"rm /mnt/{gone} && sync"))
        for files, command in steps:
            begun = position()
            guest.run(command)
            answered = position()
            for name, data in files.items():
                history.durable(name, data, begun, answered)
    return history


def _together(number: int) -> tuple[dict[str, bytes | None], str]:
    """Return several files and one sync for all of them, for many writes between two flushes."""
    directory = f"d/together{number}"
    files: dict[str, bytes | None] = {
        f"{directory}/{part}": _content(100 * number + part, 90 * part) for part in range(1, 5)
    }
    parts = " ".join(f"{100 * number + part:04}" for part in range(1, 5))
    command = f"mkdir /mnt/{directory} && cd /mnt/{directory} && n=1 && for i in {parts}; do"
    command += f" yes $i-{_TEXT} | head -n $((n*90)) > $n; n=$((n+1)); done; sync"
    return files, command
