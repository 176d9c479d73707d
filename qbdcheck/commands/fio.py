"""`./check fio FILE [SIZE]`: run a job file in a guest on the target, and say what came of it.

The target's volume, of SIZE bytes (64M unless told), is /dev/vdb of the guest.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from blockio.sizes import parse_size
from qbdcheck.errors import NotRun, SetupError, UsageError
from qbdcheck.guest.fio import FioOutputError, FioResult
from qbdcheck.guest.fio_run import Fio, FioRun
from qbdcheck.guest.guest import GuestFailed
from qbdcheck.kit.guests import Guests
from qbdcheck.options import Execution, GuestOptions, TargetOptions
from qbdcheck.targets.capabilities import capabilities
from qbdcheck.targets.description import Description
from qbdcheck.targets.session import TargetSession

USAGE = "usage: ./check fio FILE [SIZE]; SIZE is the volume's, such as 64M"
_DAY_S = 86400.0


def main(
    arguments: tuple[str, ...],
    *,
    target: TargetOptions,
    execution: Execution,
    guest_options: GuestOptions,
    description: Description,
    json_file: Path | None = None,
) -> int:
    """Run the job file that `arguments` name; 0 if fio found nothing wrong, else 1.

    :raise UsageError: there is no such file, or fio does not take it.
    :raise SetupError: no guest, or no target.
    """
    file, size = _arguments(arguments)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: not a job file of fio: {error}") from None
    scratch = execution.scratch_root / "0"
    scratch.mkdir(mode=0o700)
    execution.results_dir.mkdir(parents=True, exist_ok=True)
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
        guest = guests(session.new_disk(size, prefill=False))
        sys.stdout.write(f"{description.name}: {size} bytes as {guest.disks[0].path}\n")
        limit_s = execution.timeout_s or _DAY_S
        run = Fio(guest, execution.results_dir)(file=text, within_s=limit_s)
        guests.settle()
    except GuestFailed as error:
        sys.stdout.write(f"FAIL  {error}\n")
        return 1
    except NotRun as error:
        raise SetupError(f"./check fio: {error}") from None
    except FioOutputError as error:
        raise UsageError(f"{file}: {error}") from None
    finally:
        guests.close()
        session.close()
    return _tell(run, execution.results_dir, json_file)


def _arguments(words: tuple[str, ...]) -> tuple[Path, int]:
    if len(words) not in {1, 2}:
        raise UsageError(USAGE)
    file = Path(words[0])
    if not file.is_file():
        raise UsageError(f"{file}: no such file; {USAGE}")
    try:
        size = parse_size(words[1] if len(words) > 1 else "64M")
    except ValueError as error:
        raise UsageError(f"{error}; {USAGE}") from None
    if not size:
        raise UsageError(f"SIZE must not be 0; {USAGE}")
    return file, size


def _tell(run: FioRun, results_dir: Path, json_file: Path | None) -> int:
    result: FioResult = run.result
    for line in result.summary():
        sys.stdout.write(f"{line}\n")
    if json_file is not None:
        text = json.dumps(result.model_dump(), indent=1)
        json_file.write_text(f"{text}\n", encoding="utf-8")
    sys.stdout.write(f"output  {results_dir}\n")
    try:
        run.must_be_clean()
    except AssertionError as error:
        sys.stdout.write(f"FAIL  {error}\n")
        return 1
    sys.stdout.write("fio found nothing wrong\n")
    return 0
