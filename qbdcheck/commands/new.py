"""`./check new SUITE "what it proves"`: the next free number of a suite, as a skeleton.

The comments of the skeleton are the manual of a case; their reader deletes them as they go.
"""

from __future__ import annotations

import difflib
import re
import string
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from qbdcheck.catalogue.catalogue import list_cases
from qbdcheck.errors import UsageError

SUITES: Mapping[str, tuple[int, int]] = {
    "iotests": (1, 199),
    "blkverify": (200, 249),
    "blkdebug": (250, 349),
    "network": (350, 399),
    "crash": (400, 449),
    "model": (450, 499),
    "guest": (500, 619),
    "perf": (620, 649),
    "libvirt": (650, 699),
}
"""Each suite and its first and last number. suites/README.md says what belongs where."""
STEM_MAX = 60
"""Characters of a case's file name without number and ending: more do not fit a line of a run."""

_SKELETON = string.Template('''\
"""This case checks that $title.

How: ... one or two sentences on the steps, for a reader who will not read the code.
Guards: ... ids of bugs in docs/bugs.md that make this case fail.
"""
from qbdcheck.kit import case

# groups    words of suites/groups.yaml; "quick" is what a bare ./check runs: under 0.3 s only
# requires  what the target must be able to do: flush fua discard write_zeroes block_status resize
#           snapshot multi_conn kill crash nbd ...: docs/case-writer.md has them all
# programs  programs beside those of QEMU: "nbdcopy fio"
# formats   "raw" (default), "raw qcow2", "any"
# limit_s   time limit in seconds; 60 unless you say so


@case(groups="rw")
def test(disk, qemu_io):
    # Name a fixture to get it, and what it starts ends with the case:
    #   disk new_disk        volumes on the target, full of stamps; disk.verify() compares all
    #   qemu_io qemu_img     QEMU's programs; qemu_img.fails(...) for a command that must fail
    #   storage_daemon vm    QMP: block jobs, exports, devices
    #   nbd                  a raw NBD client, for what QEMU never sends
    #   golden               output that is compared with golden/$stem.out (at most 20 lines);
    #                        ./check --update-golden $number writes it
    #   run scratch seed log not_run
    with qemu_io(disk) as io:
        io.write(64 << 10, 4 << 10)
        io.flush()
    disk.verify()
    # Break the target on purpose, once, and see this case go red.
''')


def new_case(suites_dir: Path, suite: str, title: str) -> Path:
    """Write the skeleton of the next free number of `suite`; its path.

    ``title`` completes "This case checks that ...", and becomes the file's name.

    :raise UsageError: the suite is unknown or full, or the title names nothing.
    """
    if suite not in SUITES:
        near = difflib.get_close_matches(suite, SUITES, n=1)
        meant = f"; did you mean {near[0]}?" if near else ";"
        raise UsageError(f"unknown suite {suite!r}{meant} known: {' '.join(SUITES)}")
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
    """``enospc_on_the_third_write``: whole words of `title`, at most STEM_MAX characters."""
    stem = "_".join(re.findall(r"[a-z0-9]+", title.lower()))
    if len(stem) <= STEM_MAX:
        return stem
    whole_words = stem[: STEM_MAX + 1].rpartition("_")[0]
    return whole_words or stem[:STEM_MAX]


def _next_free(suites_dir: Path, suite: str) -> int:
    """One above the last number of `suite` in use; a gap, where the range is used up to its end.

    Gaps are left alone as long as possible: they are kept for cases that belong beside their
    neighbours.
    """
    first, last = SUITES[suite]
    cases = list_cases(suites_dir) if suites_dir.is_dir() else []
    taken = {one.number for one in cases}
    above = max((number for number in taken if first <= number <= last), default=first - 1) + 1
    free: list[int] = [number for number in [above, *range(first, last + 1)] if number not in taken]
    for number in free:
        if first <= number <= last:
            return number
    raise UsageError(f"suite {suite} has no free number in {first:03d}-{last:03d}")


def main(arguments: Sequence[str], suites_dir: Path) -> int:
    """`./check new` with its two arguments: print the path of the new case; 0.

    :raise UsageError: see `new_case`.
    """
    if len(arguments) < 2:
        usage = 'usage: ./check new SUITE "what it proves"'
        raise UsageError(f"{usage}; suites: {' '.join(SUITES)}")
    path = new_case(suites_dir, arguments[0], " ".join(arguments[1:]))
    sys.stdout.write(f"{path}\n")
    return 0
