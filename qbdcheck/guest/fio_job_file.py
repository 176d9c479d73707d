"""Job files of fio: read on the host, made to run on the disks of a guest, or refused.

The format is the one of fio(1), "JOB FILE FORMAT". What is read here as fio reads it: sections,
comments, ``include`` and ``${VARIABLES}``. Names of disks are replaced by those of the guest's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from qbdcheck.errors import UsageError
from qbdcheck.files import COMMAND, why_unreadable

_INCLUDES_MAX = 16
"""Depth of files that include each other."""
_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_SECTION = re.compile(r"\[(?P<name>.*)\]")
_NAMES = re.compile(r"(?<!\\):")
"""Separates file names; a colon in a name has a backslash."""
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgtp]?)(i?)b?")
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_ALIASES = {
    "readwrite": "rw",
    "blocksize": "bs",
    "start_offset": "offset",
    "wait_for_previous": "stonewall",
}
_NO_DISKS = re.compile(
    r"/dev/(?:null|zero|full|u?random|shm/.*|tty.*|mem|kmsg|std\w+|fd/.*|pts/.*)"
)
DISK_ENGINES = (
    "sync", "psync", "vsync", "pvsync", "pvsync2", "libaio", "posixaio", "io_uring", "mmap",
    "splice",
)  # fmt: skip
"""Engines that read and write a block device."""
IDLE_ENGINES = ("cpuio", "exec")
"""Engines that do no I/O, and do not claim to."""
_REFUSED = {
    "directory": "files in a directory are not on the volume; replace it by filename={disk}",
    "filename_format": "it names files, not the volume; replace it by filename={disk}",
    "opendir": "files in a directory are not on the volume; replace it by filename={disk}",
    "read_iolog": "the log is not in the guest; describe the load by rw, bs and size",
}


@dataclass(frozen=True)
class Option:
    """An option of a section, with its file and line."""

    key: str
    value: str
    where: str


@dataclass
class Section:
    """A job: its options, with those of [global] before its own."""

    name: str
    where: str
    options: list[Option] = field(default_factory=list)

    def get(self, key: str) -> Option | None:
        """Return the last option of this name."""
        return next((one for one in reversed(self.options) if one.key == key), None)

    def value(self, key: str, default: str = "") -> str:
        """Return the value of an option."""
        option = self.get(key)
        return default if option is None else option.value

    def is_set(self, key: str, *, default: bool = False) -> bool:
        """Return whether an option that is on or off is on; without a value it is."""
        option = self.get(key)
        return default if option is None else option.value not in {"0", "no", "false"}

    @property
    def engine(self) -> str:
        """The I/O engine, without its own options."""
        return self.value("ioengine", "psync").partition(":")[0]

    @property
    def does_io(self) -> bool:
        """Whether the job is to read or write."""
        return self.engine not in IDLE_ENGINES

    @property
    def direction(self) -> str:
        """The value of rw without its modifier: read, randwrite, ..."""
        return self.value("rw", "read").partition(":")[0]

    @property
    def writes(self) -> bool:
        """Whether the job writes."""
        writing = ("write", "rw", "readwrite", "randrw")
        wanted = any(word in self.direction for word in writing)
        return self.does_io and wanted and not self.is_set("verify_only")

    @property
    def verifies(self) -> bool:
        """Whether fio is to verify what the job wrote or reads."""
        wanted = self.value("verify", "0") not in {"", "0", "none", "null"}
        return self.does_io and wanted and self.is_set("do_verify", default=True)

    @property
    def is_direct(self) -> bool:
        """Whether the requests bypass the guest's page cache."""
        return self.is_set("direct") or (
            self.get("buffered") is not None and not self.is_set("buffered")
        )

    @property
    def repeats_places(self) -> bool:
        """Whether the job may use few places often, and leave others out."""
        uniform = self.value("random_distribution", "random") == "random"
        return self.is_set("norandommap") or not uniform

    @property
    def trims(self) -> bool:
        """Whether the job trims."""
        return "trim" in self.direction or self.value("trim_percentage", "0") != "0"

    @property
    def copies(self) -> int:
        """The number of processes that run the job."""
        text = self.value("numjobs", "1")
        return int(text) if text.isdigit() else 1

    @property
    def disks(self) -> list[str]:
        """The names of its disks."""
        return [name for name in _NAMES.split(self.value("filename")) if name]


@dataclass
class JobFile:
    """A job file that can run in a guest.

    :ivar text: what fio gets; disks have the guest's names.
    :ivar disks: how many disks the guest needs.
    :ivar notes: the changes to the file, one line for each.
    """

    source: str
    sections: list[Section]
    text: str = ""
    disks: int = 1
    notes: list[str] = field(default_factory=list)

    def text_for(self, paths: Sequence[str]) -> str:
        """Return the text for a guest in which the disks have these paths."""
        known = {guest_disk(number): path for number, path in enumerate(paths)}
        return re.sub(r"/dev/vd[b-z]\b", lambda found: known.get(found[0], found[0]), self.text)

    def where_of(self, words: str) -> str:
        """Return the file and line of the option that has these words, or the file."""
        key, _, value = words.partition("=")
        for section in self.sections:
            for option in section.options:
                if option.key == key.strip() and (not value or value in option.value):
                    return option.where
        return self.source


def guest_disk(number: int) -> str:
    """Return the name in the guest of the disk of this number, from 0 on."""
    return f"/dev/vd{chr(ord('b') + number)}"


def read_job_file(path: Path, environment: Mapping[str, str]) -> JobFile:
    """Return a job file that runs on the disks of a guest.

    :param environment: values of the variables in it.
    :raise UsageError: it cannot be read, has no job, or has an option that does not lead to a disk;
        names file, line and fix.
    """
    lines = list(_lines(path, environment, 0))
    jobs = JobFile(str(path), _sections(lines, str(path)))
    for section in jobs.sections:
        _must_use_disks(section)
    _name_disks(jobs, lines)
    return jobs


@dataclass(frozen=True)
class _Line:
    where: str
    text: str


def _lines(path: Path, environment: Mapping[str, str], depth: int) -> Iterator[_Line]:
    """Yield the lines without comments, with those of included files in their place."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not a job file of fio: {why_unreadable(error)}") from None
    for number, raw in enumerate(text.splitlines(), 1):
        where = f"{path}, line {number}"
        line = re.split("[;#]", raw, maxsplit=1)[0].strip()
        if not line:
            continue
        line = _VARIABLE.sub(lambda found, at=where: _value(found[1], environment, at), line)
        if line.partition(" ")[0] == "include":
            if depth == _INCLUDES_MAX:
                raise UsageError(f"{where}: more than {_INCLUDES_MAX} files include each other")
            included = path.parent / line.partition(" ")[2].strip()
            if not included.is_file():
                raise UsageError(f"{where}: {included}: no such file; include a file that exists")
            yield from _lines(included, environment, depth + 1)
        else:
            yield _Line(where, line)


def _value(name: str, environment: Mapping[str, str], where: str) -> str:
    try:
        return environment[name]
    except KeyError:
        raise UsageError(
            f"{where}: the variable {name} is not set; run {name}=VALUE {COMMAND} fio FILE"
        ) from None


def _sections(lines: list[_Line], source: str) -> list[Section]:
    general: list[Option] = []
    found: list[Section] = []
    current: list[Option] | None = None
    for line in lines:
        if match := _SECTION.match(line.text):
            if match["name"] == "global":
                current = general
            else:
                found.append(Section(match["name"], line.where, [*general]))
                current = found[-1].options
            continue
        if current is None:
            raise UsageError(f"{line.where}: {line.text!r} is in no section; add [NAME] above it")
        key, _, value = line.text.partition("=")
        key = key.strip()
        current.append(Option(_ALIASES.get(key, key), value.strip(), line.where))
    if not found:
        last = lines[-1].where if lines else f"{source}, line 1"
        raise UsageError(
            f"{last}: the file has no job; add a section [NAME] with rw=, bs= and size="
        )
    return found


def _must_use_disks(section: Section) -> None:
    for key, reason in _REFUSED.items():
        if option := section.get(key):
            raise UsageError(f"{option.where}: {key}: {reason.format(disk=guest_disk(0))}")
    engine = section.get("ioengine")
    if engine and section.engine not in (*DISK_ENGINES, *IDLE_ENGINES):
        raise UsageError(
            f"{engine.where}: ioengine={engine.value} does not use the volume;"
            f" use ioengine=libaio and filename={guest_disk(0)}"
        )
    filename = section.get("filename")
    for name in section.disks:
        if not name.startswith("/dev/") or _NO_DISKS.fullmatch(name):
            assert filename is not None
            raise UsageError(
                f"{filename.where}: filename={name} is not a disk; use one, such as {guest_disk(0)}"
            )


def _name_disks(jobs: JobFile, lines: list[_Line]) -> None:
    """Give each disk a name of the guest's, and write the text."""
    used = [section for section in jobs.sections if section.does_io]
    if not used:
        raise UsageError(f"{jobs.sections[-1].where}: no job does I/O; add one with rw= and bs=")
    named = list(dict.fromkeys(name for section in used for name in section.disks))
    jobs.disks = max(len(named), 1)
    own = [guest_disk(number) for number in range(jobs.disks)]
    names = {name: name for name in named if name in own}
    free = iter([name for name in own if name not in names])
    for name in named:
        if name not in names:
            names[name] = next(free)
            jobs.notes.append(f"{name} of the job file is {names[name]} in the guest")
    without = {id(section) for section in used if not section.disks}
    for section in used:
        if id(section) in without:
            section.options.append(Option("filename", own[0], section.where))
            jobs.notes.append(f"[{section.name}] names no file: it runs on {own[0]}")
        else:
            option = section.get("filename")
            assert option is not None
            renamed = ":".join(names[name] for name in section.disks)
            section.options.append(Option("filename", renamed, option.where))
    jobs.text = "".join(f"{line}\n" for line in _written(jobs, lines, names, without))


def _written(
    jobs: JobFile, lines: list[_Line], names: Mapping[str, str], without: set[int]
) -> Iterator[str]:
    sections = iter(jobs.sections)
    for line in lines:
        key, equals, value = line.text.partition("=")
        if equals and key.strip() == "filename":
            known = [names.get(name, name) for name in _NAMES.split(value.strip())]
            yield f"filename={':'.join(known)}"
            continue
        yield line.text
        match = _SECTION.match(line.text)
        if match and match["name"] != "global" and id(next(sections)) in without:
            yield f"filename={guest_disk(0)}"


def size_of(text: str, whole: int, kb_base: str = "1024") -> int | None:
    """Return the bytes of a size of fio, None if it is an expression that is not understood.

    :param whole: what a percentage is of.
    :param kb_base: fio's option. With 1024, K is 1024 and Ki is 1000; with 1000, the reverse.
    """
    text = text.strip().lower()
    if text.endswith("%") and text[:-1].isdigit():
        return whole * int(text[:-1]) // 100
    found = _SIZE.fullmatch(text)
    if found is None:
        return None
    base = 1024 if bool(found[3]) == (kb_base == "1000") else 1000
    return round(float(found[1]) * float(base) ** _POWERS[found[2]])
