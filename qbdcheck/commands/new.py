"""`./check new SUITE "what it proves"`: writes the skeleton of a case with the next free number.

The comments of the skeleton explain how to write a case; its author deletes them.
"""

from __future__ import annotations

import re
import string
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from qbdcheck.catalogue.catalogue import list_cases
from qbdcheck.errors import UsageError
from qbdcheck.exit_code import ExitCode
from qbdcheck.suggestions import suggestion

Range = tuple[int, int]
SUITES: Mapping[str, tuple[Range, ...]] = {
    "iotests": ((1, 199), (1000, 1199)),
    "blkverify": ((200, 249), (1200, 1249)),
    "blkdebug": ((250, 349), (1250, 1349)),
    "network": ((350, 399), (1350, 1399)),
    "crash": ((400, 449), (1400, 1449)),
    "model": ((450, 499), (1450, 1499)),
    "guest": ((500, 619), (1500, 1619)),
    "perf": ((620, 649),),
    "libvirt": ((650, 699),),
    "cluster": ((700, 749),),
    "driver": ((750, 799),),
    "vhost_user": ((800, 849),),
}
"""Each suite and the first and last number of its ranges. suites/README.md describes the suites."""
STEM_MAX = 60
"""Limit of a file name without number and suffix, so that a line of a report stays short."""

_SKELETON = string.Template('''\
"""This case checks that $title.

How: ... one or two sentences on the steps, for a reader who will not read the code.
Guards: ... ids of bugs in docs/bugs.md that make this case fail; tools/guards.py checks them.
"""
from qbdcheck.kit import case

# groups    groups of suites/groups.yaml; "quick" is for cases that take less than 0.3 s
# requires  capabilities of the target: flush fua discard write_zeroes block_status resize
#           snapshot multi_conn kill crash nbd ...; docs/case-writer.md lists all
# programs  programs that are not part of QEMU: "nbdcopy fio"
# formats   "raw" (default), "raw qcow2", "any"
# limit_s   time limit in seconds; the default is 60
# basis     what demands this: a MUST or SHOULD of a document with its section, or a policy
#           (docs/policies.md); several in parentheses: ("MUST: ...", "POLICY: ...")


@case(groups="rw", basis="MUST: NBD, NBD_CMD_READ")
def test(disk, qemu_io):
    # Name a fixture as an argument to use it; the programs that it starts end with the case:
    #   disk new_disk        volumes on the target, full of stamps; disk.verify() compares all
    #   qemu_io qemu_img     QEMU's programs; qemu_img.fails(...) for a command that must fail
    #   storage_daemon vm    QMP: block jobs, exports, devices
    #   nbd                  a raw NBD client, for requests that QEMU never sends
    #   golden               output that is compared with a file in golden/ (at most 20 lines);
    #                        ./check --update-golden $number writes it
    #   run scratch seed log not_run
    with qemu_io(disk) as io:
        io.write(64 << 10, 4 << 10)
        io.flush()
    disk.verify()
    # Break the target on purpose once, and check that this case fails.
''')


def new_case(suites_dir: Path, suite: str, title: str) -> Path:
    """Write the skeleton of a case with the next free number of `suite`; return its path.

    :param title: completes "This case checks that ...", and becomes the name of the file.
    :raise UsageError: the suite is unknown or full, or the title has no word.
    """
    if suite not in SUITES:
        near = suggestion(suite, SUITES)
        hint = f"; did you mean {near}?" if near else ";"
        raise UsageError(f"unknown suite {suite!r}{hint} known: {' '.join(SUITES)}")
    title = " ".join(title.split()).rstrip(".")
    stem = stem_of(title)
    if not stem:
        raise UsageError(
            f'the title {title!r} has no word; try ./check new {suite} "what it proves"'
        )
    number = _next_free(suites_dir, suite)
    path = suites_dir / suite / f"{number:03d}_{stem}.py"
    text = _SKELETON.substitute(title=title, stem=path.stem, number=number)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from None
    return path


def stem_of(title: str) -> str:
    """Return whole words of `title`, such as ``enospc_on_the_third_write``: at most STEM_MAX."""
    stem = "_".join(re.findall(r"[a-z0-9]+", title.lower()))
    if len(stem) <= STEM_MAX:
        return stem
    whole = stem[: STEM_MAX + 1].rpartition("_")[0]
    return whole or stem[:STEM_MAX]


def _next_free(suites_dir: Path, suite: str) -> int:
    """Return the next free number of `suite`, from the first of its ranges that has one.

    In a range it is one above the last number in use. Gaps are left for related cases, so they are
    used only when the end of the range is reached.
    """
    cases = list_cases(suites_dir) if suites_dir.is_dir() else []
    taken = {one.number for one in cases}
    for first, last in SUITES[suite]:
        above = max((number for number in taken if first <= number <= last), default=first - 1) + 1
        candidates: list[int] = [above, *range(first, last + 1)]
        for number in candidates:
            if number not in taken and first <= number <= last:
                return number
    raise UsageError(f"suite {suite} has no free number in {ranges(suite)}")


def ranges(suite: str) -> str:
    """Return the ranges of a suite as text, such as ``001-199, 1000-1199``."""
    return ", ".join(f"{first:03d}-{last:03d}" for first, last in SUITES[suite])


def main(arguments: Sequence[str], suites_dir: Path) -> ExitCode:
    """Write the case and print its path; return 0.

    :raise UsageError: see `new_case`.
    """
    if len(arguments) < 2:
        usage = 'usage: ./check new SUITE "what it proves"'
        raise UsageError(f"{usage}; suites: {' '.join(SUITES)}")
    path = new_case(suites_dir, arguments[0], " ".join(arguments[1:]))
    sys.stdout.write(f"{path}\n")
    return ExitCode.GREEN
