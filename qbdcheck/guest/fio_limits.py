"""Checks of a job file against the volume: what does not fit, and what fio itself cannot verify.

fio reports wrong blocks on any disk, right or wrong, if a job writes a block twice in an order
that fio does not record. Such jobs are refused, so that no backend is blamed for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from qbdcheck.errors import UsageError
from qbdcheck.files import COMMAND
from qbdcheck.guest.fio_job_file import JobFile, Section, size_of

_FALSE_ALARM = "fio reports wrong blocks for it on any disk"


def check_job_file(jobs: JobFile, volume: int) -> None:
    """Check that the jobs fit on a volume and that fio can verify them.

    :param volume: bytes of each disk.
    :raise UsageError: names file, line and fix.
    """
    for section in jobs.sections:
        if section.does_io:
            _must_fit(section, volume)
            if section.verifies:
                _must_be_verifiable(section)
    _must_be_written_before(jobs.sections)
    _must_not_overlap(jobs.sections, volume)


def regions(section: Section, volume: int) -> list[range] | None:
    """Return the bytes of a disk that each copy of a job uses; None if that is not known."""
    kb_base = section.value("kb_base", "1024")
    start = size_of(section.value("offset", "0"), volume, kb_base)
    step = size_of(section.value("offset_increment", "0"), volume, kb_base)
    size = size_of(section.value("size", section.value("filesize", "100%")), volume, kb_base)
    if start is None or step is None or size is None or section.get("zonesize"):
        return None
    first = [start + number * step for number in range(section.copies)]
    return [range(at, min(at + size, volume)) for at in first]


def region_bytes(jobs: JobFile, volume: int) -> int:
    """Return how many bytes all jobs together use, each copy counted; 0 if that is not known."""
    found = [regions(section, volume) for section in jobs.sections if section.does_io]
    if None in found:
        return 0
    return sum(len(one) for part in found for one in part or ())


def _must_fit(section: Section, volume: int) -> None:
    kb_base = section.value("kb_base", "1024")
    start = size_of(section.value("offset", "0"), volume, kb_base) or 0
    step = size_of(section.value("offset_increment", "0"), volume, kb_base) or 0
    for key in ("size", "filesize"):
        option = section.get(key)
        if option is None or option.value.endswith("%"):
            continue
        size = size_of(option.value, volume, kb_base)
        end = start + step * (section.copies - 1) + (size or 0)
        if size is not None and end > volume * max(len(section.disks), 1):
            raise UsageError(
                f"{option.where}: [{section.name}] ends at {end} bytes, and the volume has"
                f" {volume}; make it smaller, or run {COMMAND} fio FILE {_rounded_up(end)}"
            )


def _rounded_up(size: int) -> str:
    return f"{-(-size >> 20)}M"


def _must_be_verifiable(section: Section) -> None:
    rw = section.get("rw")
    if rw and section.writes and "rand" in section.direction and ":" in rw.value:
        raise UsageError(
            f"{rw.where}: rw={rw.value} with verify: {_FALSE_ALARM};"
            f" use rw={section.direction} or remove verify"
        )
    random_map = section.get("norandommap")
    if random_map and section.is_set("norandommap") and section.writes:
        raise UsageError(
            f"{random_map.where}: norandommap with verify: {_FALSE_ALARM};"
            " remove norandommap or verify"
        )
    if section.engine == "mmap":
        engine = section.get("ioengine")
        assert engine is not None
        raise UsageError(
            f"{engine.where}: ioengine=mmap with verify: {_FALSE_ALARM}; use ioengine=psync"
        )


def _must_be_written_before(sections: Sequence[Section]) -> None:
    written: set[str] = set()
    for section in sections:
        verify = section.get("verify")
        if verify and section.verifies and not section.writes and "trim" not in section.direction:
            unwritten = [name for name in section.disks if name not in written]
            if unwritten:
                raise UsageError(
                    f"{verify.where}: [{section.name}] verifies {unwritten[0]}, which no job before"
                    " it writes; add a job that writes it with the same verify, and stonewall here"
                )
        if section.writes:
            written |= set(section.disks)


def _must_not_overlap(sections: Sequence[Section], volume: int) -> None:
    for group in _at_once(sections):
        busy: list[tuple[Section, str, range]] = []
        for section in group:
            for name, place in _places(section, volume):
                for other, other_name, other_place in busy:
                    if (
                        name == other_name
                        and _disturb(section, other)
                        and _meet(place, other_place)
                    ):
                        _refuse(section, other)
                busy.append((section, name, place))


def _places(section: Section, volume: int) -> Iterator[tuple[str, range]]:
    for place in regions(section, volume) or ():
        for name in section.disks:
            yield name, place if len(section.disks) == 1 else range(volume)


def _disturb(one: Section, other: Section) -> bool:
    changed = one.writes or one.trims or other.writes or other.trims
    return changed and (one.verifies or other.verifies)


def _meet(one: range, other: range) -> bool:
    return max(one.start, other.start) < min(one.stop, other.stop)


def _refuse(section: Section, other: Section) -> None:
    option = section.get("numjobs") if section is other else None
    who = f"the copies of [{section.name}]" if option else f"[{other.name}] and [{section.name}]"
    fix = (
        "add offset_increment" if option else "give each its own offset and size, or add stonewall"
    )
    raise UsageError(
        f"{option.where if option else section.where}: {who} use one region at the same time with"
        f" verify: {_FALSE_ALARM}; {fix}"
    )


def _at_once(sections: Sequence[Section]) -> Iterator[list[Section]]:
    """Yield the jobs that run at the same time."""
    starts = [0] + [
        number
        for number, section in enumerate(sections)
        if number and (section.is_set("stonewall") or section.get("wait_for"))
    ]
    for start, end in pairwise([*starts, len(sections)]):
        yield list(sections[start:end])
