"""Keep the logs of a case that is not green, and remove the scratch directory of every case."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from blockio.sizes import format_size
from qbdcheck.errors import ProgramError
from qbdcheck.programs.qmp import Qmp
from qbdcheck.runner import subreaper
from qbdcheck.runner.child import STACKS
from qbdcheck.runner.reaper import unmount_below

EVIDENCE = (
    "*.log",
    "*.bad",
    "*.err",
    "*.out",
    "*.stderr",
    "*.stdout",
    "*.txt",
    "*.workload.*.jsonl",
    "repro",
)
"""Files that are kept if a case is not green."""
TIMELINES = ("*.timeline.txt",)
"""Files of guests that may be kept for every case."""
_LISTED = 10
"""Volumes that the end of a run names."""
_KEPT_BYTES = 1 << 20
"""Bytes that are kept from the end of each file."""
_TAIL_BYTES = 2000
_CONTROL_SOCKETS = "*.volume/c"
"""Control sockets of servers; `qbdcheck.targets.lifecycle` chooses the place."""
_CONTROL_TIMEOUT_S = 1.0


def keep_artefacts(
    scratch: Path, directory: Path, patterns: Sequence[str] = EVIDENCE
) -> list[Path]:
    """Copy logs, stacks, .bad files and repro/ of a case to `directory`; return the copies.

    If the disk is full, copies are missing, but the verdict does not change.
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
    """Return the last `limit` bytes of a file."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - limit))
        return file.read()


def kept_lines(scratch_root: Path) -> list[str]:
    """Return what ``--keep`` has kept: the directory of the run, and the volumes in it."""
    volumes = sorted(path for path in scratch_root.rglob("*") if _is_volume(path))
    size = sum(path.stat().st_size for path in volumes)
    lines = [
        f"Kept: {scratch_root} ({len(volumes)} volumes, {format_size(size)}); remove it by hand"
    ]
    lines += [f"  {path}" for path in volumes[:_LISTED]]
    if len(volumes) > _LISTED:
        lines.append(f"  ... and {len(volumes) - _LISTED} more volumes")
    if volumes:
        lines.append(f"What a volume contains: ./check inspect {volumes[0]}")
    return lines


def _is_volume(path: Path) -> bool:
    """Return whether a file is the copy of a volume, or the file of a target that uses files."""
    if path.is_symlink() or not path.is_file():
        return False
    return path.suffix == ".img" or (path.parent.name.endswith(".volume") and not path.suffix)


def remove_scratch(scratch: Path) -> None:
    """Remove a case's directory, even if it has mounted file systems or read-only directories."""
    try:
        shutil.rmtree(scratch)
    except OSError:
        unmount_below(scratch)
        with contextlib.suppress(OSError):
            for directory in (scratch, *scratch.rglob("*/")):
                directory.chmod(0o700)
        shutil.rmtree(scratch, ignore_errors=True)


def without_runner_frames(stacks: str) -> str:
    """Return stacks of faulthandler without the frames of the runner and of pytest."""
    kept: list[str] = []
    in_runner = False
    for line in stacks.splitlines():
        if not line.startswith("  File "):
            in_runner = False
        in_runner = in_runner or "/_pytest/" in line or "/qbdcheck/runner/" in line
        if not in_runner:
            kept.append(line)
    return "\n".join(kept)


def requests_in_flight(scratch: Path) -> list[str]:
    """Return the requests in flight of the servers of a case that have a control socket."""
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
    """Describe where a case hangs: its Python stacks, its processes, and the ends of their logs."""
    parts: list[str] = []
    with contextlib.suppress(OSError):
        if stacks := (scratch / STACKS).read_text(errors="replace").strip():
            parts.append(f"Python stacks of the case:\n{without_runner_frames(stacks)}")
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
