"""Show a log of writes, and make the image of one of its crash states.

    python -m oracles.crash_states info LOG
    python -m oracles.crash_states make LOG --before IMAGE --state EPOCH:MASK --out FILE

``LOG`` is a log of Linux's dm-log-writes or of QEMU's blklogwrites, ``IMAGE`` the volume as it was
before the first write of the log. A failing case of ./check leaves both in its ``repro`` directory.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from mmap import mmap
from pathlib import Path

from blockio.write_log import Entry, LogFlag, read_log
from oracles.crash_states.epochs import epochs
from oracles.crash_states.states import CrashStates, Position, StateId

_EXIT_USAGE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 2 for a wrong argument or a damaged log, with a message."""
    parser = argparse.ArgumentParser(
        prog="python -m oracles.crash_states",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    info = commands.add_parser("info", help="list the entries and count the states")
    make = commands.add_parser("make", help="write the image of a state")
    for command in (info, make):
        command.add_argument("log", type=Path)
        text = "bytes that a disk writes atomically; 0: no tearing"
        command.add_argument("--tear", type=int, default=512, help=text)
    make.add_argument("--before", type=Path, required=True, help="the volume before the log")
    make.add_argument(
        "--state", type=StateId.parse, required=True, help="EPOCH:MASK, as in a report"
    )
    make.add_argument("--out", type=Path, required=True, help="file to write")
    options = parser.parse_args(argv)
    try:
        log = read_log(options.log)
        if options.command == "info":
            print(_info(log, options.tear))
        else:
            print(_make(log, options))
    except (OSError, ValueError) as error:
        print(f"oracles.crash_states: {error}", file=sys.stderr)
        return _EXIT_USAGE
    return 0


def _info(log: list[Entry], tear: int) -> str:
    lines = []
    for number, entry in enumerate(log):
        words = [flag.name or "" for flag in LogFlag if flag & entry.flags]
        if entry.length and LogFlag.DISCARD not in entry.flags:
            words.append("WRITE")
        text = bytes(entry.data).decode(errors="replace") if entry.flags & LogFlag.MARK else ""
        place = f"{entry.offset}+{entry.length}" if entry.length else text
        lines.append(f"{number:6} {'|'.join(words):10} {place}")
    found = epochs(log, tear)  # no image: a log of a 2 TiB disk needs memory for its counts only
    total = sum(epoch.states() for epoch in found)
    lines.append(f"{len(log)} entries, {len(found)} epochs, {total} crash states")
    return "\n".join(lines)


def _make(log: list[Entry], options: argparse.Namespace) -> str:
    shutil.copyfile(options.before, options.out)
    with options.out.open("r+b") as file:
        image = memoryview(mmap(file.fileno(), 0))
        states = CrashStates(log, image, tear=options.tear)
        Position(states, image).go(options.state)
    return f"{options.out}: {states.describe(options.state)}"


if __name__ == "__main__":
    sys.exit(main())
