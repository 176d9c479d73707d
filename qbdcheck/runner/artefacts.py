"""What is kept of a case that was not green, and what is removed of every case."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from qbdcheck.errors import ProgramError
from qbdcheck.programs.qmp import Qmp
from qbdcheck.runner import subreaper
from qbdcheck.runner.child import STACKS
from qbdcheck.runner.reaper import unmount_below

EVIDENCE = ("*.log", "*.bad", "*.err", "*.out", "*.stderr", "*.stdout", "*.txt", "repro")
"""Names of what a case leaves that was not green."""
TIMELINES = ("*.timeline.txt",)
"""Names of what guests leave always."""
_KEPT_BYTES = 1 << 20
"""Of each file its end, up to this."""
_TAIL_BYTES = 2000
_CONTROL_SOCKETS = "*.volume/c"
"""Where `qbdcheck.targets.lifecycle` lets servers put their control sockets."""
_CONTROL_TIMEOUT_S = 1.0


def keep_artefacts(
    scratch: Path, directory: Path, patterns: Sequence[str] = EVIDENCE
) -> list[Path]:
    """Copy what a case left (logs, stacks, .bad files, repro/) to `directory`; return the copies.

    A full disk loses artefacts, not the verdict.
    """
    kept: list[Path] = []
    for pattern in patterns:
        for path in sorted(scratch.rglob(pattern)):
            with contextlib.suppress(OSError):
                if path.is_dir():
                    shutil.copytree(path, directory / path.name, dirs_exist_ok=True)
                    kept.append(directory / path.name)
                elif path.is_file() and not path.is_symlink() and path.stat().st_size:
                    directory.mkdir(parents=True, exist_ok=True)
                    copy = directory / str(path.relative_to(scratch)).replace("/", "_")
                    copy.write_bytes(tail(path, _KEPT_BYTES))
                    kept.append(copy)
    return kept


def tail(path: Path, limit: int) -> bytes:
    """The last `limit` bytes of a file."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - limit))
        return file.read()


def remove_scratch(scratch: Path) -> None:
    """Remove a case's directory, also where a file system is mounted in it or a mode forbids it."""
    try:
        shutil.rmtree(scratch)
    except OSError:
        unmount_below(scratch)
        with contextlib.suppress(OSError):
            for directory in (scratch, *scratch.rglob("*/")):
                directory.chmod(0o700)
        shutil.rmtree(scratch, ignore_errors=True)


def without_our_frames(stacks: str) -> str:
    """Stacks of faulthandler without the frames of the runner and of pytest."""
    kept: list[str] = []
    in_runner = False
    for line in stacks.splitlines():
        if not line.startswith("  File "):
            in_runner = False
        in_runner = in_runner or "/_pytest/" in line or "/qbdcheck/child.py" in line
        if not in_runner:
            kept.append(line)
    return "\n".join(kept)


def requests_in_flight(scratch: Path) -> list[str]:
    """What the servers of a case say that they are working on, where they have a control socket."""
    parts: list[str] = []
    for path in sorted(scratch.glob(_CONTROL_SOCKETS)):
        server = path.parent.name.removesuffix(".volume")
        try:
            qmp = Qmp(path, server, _CONTROL_TIMEOUT_S)
            try:
                requests = qmp.execute("query-requests")
            finally:
                qmp.close()
        except ProgramError as error:
            parts.append(f"Requests in flight at {server}: unknown, {error}")
            continue
        lines = [f"  {json.dumps(request)}" for request in requests] or ["  none"]
        parts.append(f"Requests in flight at {server}:\n" + "\n".join(lines))
    return parts


def describe_stuck(pid: int, scratch: Path) -> str:
    """Where a case hangs: its Python stacks, its programs, and the ends of their logs."""
    parts: list[str] = []
    with contextlib.suppress(OSError):
        if stacks := (scratch / STACKS).read_text(errors="replace").strip():
            parts.append(f"Python stacks of the case:\n{without_our_frames(stacks)}")
    programs = subreaper.living(subreaper.descendants(pid))
    if programs:
        lines = [f"  {stray.pid} ({subreaper.state(stray.pid)}) {stray.argv}" for stray in programs]
        parts.append("Its processes:\n" + "\n".join(lines))
    parts += requests_in_flight(scratch)
    for path in sorted(
        {*scratch.rglob("*.err"), *scratch.rglob("*.stderr"), *scratch.rglob("*.log")}
    ):
        with contextlib.suppress(OSError):
            if text := tail(path, _TAIL_BYTES).decode(errors="backslashreplace").strip():
                parts.append(f"End of {path.name}:\n{text}")
    return "\n\n".join(parts)
