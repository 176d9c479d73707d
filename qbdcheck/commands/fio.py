"""`./check fio FILE [SIZE]`: run a job file in a guest on the target, and print a verdict.

The target's volume has SIZE bytes (default 64M) and is /dev/vdb in the guest. If the job file names
several disks, each disk is a volume of this size.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from shutil import which

from blockio.sizes import parse_size
from qbdcheck.errors import CaseBroken, NotRun, SetupError, UsageError
from qbdcheck.exit_code import ExitCode
from qbdcheck.files import COMMAND
from qbdcheck.guest.fio_job_file import JobFile, read_job_file
from qbdcheck.guest.fio_limits import check_job_file
from qbdcheck.guest.fio_result import FioOutputError
from qbdcheck.guest.fio_run import Fio, FioRun
from qbdcheck.guest.fio_verdict import BROKEN, FAIL, PASS, Moved, Verdict, judge
from qbdcheck.guest.guest import Guest, GuestDisk, GuestFailed
from qbdcheck.kit.guests import Guests
from qbdcheck.options import Execution, GuestOptions, TargetOptions
from qbdcheck.programs.process import run
from qbdcheck.targets.capabilities import capabilities
from qbdcheck.targets.description import Description
from qbdcheck.targets.session import TargetSession

USAGE = f"usage: {COMMAND} fio FILE [SIZE]; SIZE is the size of the volume, such as 64M"
_DAY_S = 86400.0
_SECTOR = 512
_DISCARDED = 13
"""Index of the field of /sys/block/DISK/stat that counts discarded sectors, since Linux 4.18."""
_REFUSED_OPTION = re.compile(r"Bad option <([^>]+)>|failed parsing (\S+)")


def main(
    arguments: tuple[str, ...],
    *,
    target: TargetOptions,
    execution: Execution,
    guest_options: GuestOptions,
    description: Description,
    json_file: Path | None = None,
) -> ExitCode:
    """Run the job file that `arguments` name; return GREEN for a pass, else RED.

    :raise UsageError: the file does not exist or cannot run on the volume; nothing was started.
    :raise SetupError: no guest can run, or the target does not start.
    """
    file, size = _arguments(arguments)
    jobs = read_job_file(file, os.environ)
    check_job_file(jobs, size)
    scratch = execution.scratch_root / "0"
    scratch.mkdir(mode=0o700)
    execution.results_dir.mkdir(parents=True, exist_ok=True)
    _check_options(jobs, scratch)
    session = TargetSession(
        description,
        target,
        scratch,
        execution=execution,
        guest_options=guest_options,
        image_format=target.formats[0],
        case_id="fio",
        capabilities=capabilities(description, target, execution.scratch_root),
    )
    guests = Guests(session, scratch)
    try:
        verdict = _run(guests, session, jobs, size, json_file)
    except GuestFailed as error:
        verdict = Verdict(FAIL, str(error))
    except (NotRun, CaseBroken) as error:
        raise SetupError(f"{COMMAND} fio: {error}") from None
    except FioOutputError as error:
        if error.refused:
            raise UsageError(_refusal(jobs, str(error))) from None
        verdict = Verdict(BROKEN, str(error))
    finally:
        guests.close()
        session.close()
    if verdict.word != PASS:
        sys.stdout.write(f"{verdict.word}  {verdict.reason}\n")
        return ExitCode.RED
    verified = any(section.verifies for section in jobs.sections)
    sys.stdout.write(f"fio found nothing wrong{'' if verified else '; no job verified data'}\n")
    return ExitCode.GREEN


def _check_options(jobs: JobFile, scratch: Path) -> None:
    """Let the fio of this machine, if there is one, read the job file before a guest is built.

    Only an option that it does not know, or a value that it cannot read, counts: it may lack the
    engines of the guest's fio.

    :raise UsageError: there is such an option; names its file and line.
    """
    program = which("fio")
    if program is None:
        return
    file = scratch / "parsed.fio"
    file.write_text(jobs.text_for([f"/dev/vd{chr(ord('b') + at)}" for at in range(jobs.disks)]))
    done = run((program, "--parse-only", str(file)), check=False, cwd=scratch)
    said = f"{done.stdout}\n{done.stderr}"
    lines = [line for line in said.splitlines() if _REFUSED_OPTION.search(line)]
    if done.returncode and lines:
        raise UsageError(f"{_refusal(jobs, ' '.join(lines))} (fio of this machine)")


def _run(
    guests: Guests, session: TargetSession, jobs: JobFile, size: int, json_file: Path | None
) -> Verdict:
    execution = session.execution
    disks = [session.new_disk(size, prefill=False) for _ in range(jobs.disks)]
    guest = guests(*(disk.blockdev(discard="unmap") for disk in disks))
    for disk in guest.disks:
        sys.stdout.write(f"{session.name}: {size} bytes as {disk.path}\n")
    sys.stdout.writelines(f"{note}\n" for note in jobs.notes)
    before = [guest.stats(disk) for disk in guest.disks]
    trimmed = [_discarded(guest, disk) for disk in guest.disks]
    limit_s = execution.timeout_s or _DAY_S
    run = Fio(guest, execution.results_dir)(
        file=jobs.text_for([disk.path for disk in guest.disks]), within_s=limit_s
    )
    after = [guest.stats(disk) for disk in guest.disks]
    _print_result(run, execution.results_dir, json_file)
    trimmed = [
        _discarded(guest, disk) - old for disk, old in zip(guest.disks, trimmed, strict=True)
    ]
    moved = [Moved.between(*three) for three in zip(before, after, trimmed, strict=True)]
    for disk, one in zip(guest.disks, moved, strict=True):
        sys.stdout.write(
            f"{disk.path}: the volume counted {one.read} bytes read, {one.written} written,"
            f" {one.discarded} discarded\n"
        )
    verdict = judge(jobs, run.result, run.status, moved, size)
    if verdict.word != FAIL:
        guests.settle()
    return verdict


def _discarded(guest: Guest, disk: GuestDisk) -> int:
    """Return how many bytes the guest's kernel discarded on a disk (Linux, block/stat)."""
    fields = guest.run(f"cat /sys/block/{Path(disk.path).name}/stat").split()
    return int(fields[_DISCARDED]) * _SECTOR if len(fields) > _DISCARDED else 0


def _refusal(jobs: JobFile, output: str) -> str:
    """Return the message for a job file that fio refuses, with the file and the line."""
    found = _REFUSED_OPTION.search(output)
    where = jobs.where_of(found[1] or found[2]) if found else jobs.source
    return f"{where}: {' '.join(output.split())}"


def _arguments(given: tuple[str, ...]) -> tuple[Path, int]:
    if len(given) not in {1, 2}:
        raise UsageError(USAGE)
    file = Path(given[0])
    if not file.is_file():
        raise UsageError(f"{file}: no such file; {USAGE}")
    try:
        size = parse_size(given[1] if len(given) > 1 else "64M")
    except ValueError as error:
        raise UsageError(f"{error}; {USAGE}") from None
    if not size:
        raise UsageError(f"SIZE must not be 0; {USAGE}")
    return file, size


def _print_result(run: FioRun, results_dir: Path, json_file: Path | None) -> None:
    for line in run.result.summary():
        sys.stdout.write(f"{line}\n")
    if json_file is not None:
        text = json.dumps(run.result.model_dump(), indent=1)
        json_file.write_text(f"{text}\n", encoding="utf-8")
    sys.stdout.write(f"output  {results_dir}\n")
