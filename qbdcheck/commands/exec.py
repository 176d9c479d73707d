"""``./check -- COMMAND``: runs a command with the environment of a case and a started target.

The command has the terminal and the standard streams. These variables describe a new 8 MiB volume:

=====================  ======================================================================
``QBDCHECK_TARGET``    name of the target
``QBDCHECK_FILENAME``  one argument for QEMU programs (``json:{...}``)
``QBDCHECK_BLOCKDEV``  the same as JSON alone, for ``-blockdev`` and ``blockdev-add``
``QBDCHECK_URI``       NBD URI of the volume, if the target has one
``QBDCHECK_SOCKET``    the socket or file behind the volume
``QBDCHECK_SIZE``      bytes
``QBDCHECK_FORMAT``    image format
``QBDCHECK_SEED``      seed of the run
``QBDCHECK_SCRATCH``   a private directory, removed at the end
``TEST_DIR`` ...       ``TEST_DIR SOCK_DIR IMGFMT IMGOPTS CACHEMODE AIOMODE``, as in qemu-iotests
=====================  ======================================================================
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Sequence

from qbdcheck.errors import NotRun, SetupError
from qbdcheck.options import Execution, TargetOptions
from qbdcheck.targets.capabilities import capabilities
from qbdcheck.targets.description import Description
from qbdcheck.targets.disk import Disk
from qbdcheck.targets.session import TargetSession

EXIT_NOT_FOUND = 127
"""The exit code of a shell for a command that does not exist."""


def run_command(
    command: Sequence[str],
    target: TargetOptions,
    execution: Execution,
    description: Description,
) -> int:
    """Run `command`; return its exit code, or 128 + N when signal N killed it.

    :raise SetupError: the target does not start.
    """
    scratch = execution.scratch_root / "0"
    scratch.mkdir(mode=0o700)
    available = capabilities(description, target, execution.scratch_root)
    session = TargetSession(
        description,
        target,
        scratch,
        execution=execution,
        image_format=target.formats[0],
        case_id="shell",
        capabilities=available,
    )
    try:
        try:
            disk = session.new_disk()
        except NotRun as error:
            raise SetupError(f"target {description.name}: {error}") from None
        return _run(command, environment_of(disk, target, execution))
    finally:
        session.close()


def environment_of(disk: Disk, target: TargetOptions, execution: Execution) -> dict[str, str]:
    """Return the variables of the table above for one disk."""
    blockdev = disk.blockdev()
    scratch = str(execution.scratch_root / "0")
    variables = {
        "QBDCHECK_TARGET": target.name,
        "QBDCHECK_FILENAME": disk.filename,
        "QBDCHECK_BLOCKDEV": json.dumps(blockdev),
        "QBDCHECK_SOCKET": str(disk.volume_path),
        "QBDCHECK_SIZE": str(disk.size),
        "QBDCHECK_FORMAT": disk.format,
        "QBDCHECK_SEED": str(execution.seed),
        "QBDCHECK_SCRATCH": scratch,
        "TEST_DIR": scratch,
        "SOCK_DIR": scratch,
        "IMGFMT": disk.format,
        "IMGOPTS": target.image_options,
        "CACHEMODE": target.cache,
        "AIOMODE": target.aio or "threads",
    }
    with contextlib.suppress(NotRun):
        variables["QBDCHECK_URI"] = disk.uri
    return variables


def _run(command: Sequence[str], variables: dict[str, str]) -> int:
    """Run the command in the foreground; only the command handles Ctrl-C."""
    sys.stdout.flush()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        pid = os.posix_spawnp(  # not programs.process: this program uses the terminal
            command[0], list(command), {**os.environ, **variables}, setsigdef=[signal.SIGINT]
        )
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except OSError as error:
        sys.stderr.write(f"check: {command[0]}: {error.strerror}\n")
        return EXIT_NOT_FOUND
    finally:
        signal.signal(signal.SIGINT, before)
    return code if code >= 0 else 128 - code
