"""All short sequences of file operations with a persistence point, and their permitted results.

As in ACE (of CrashMonkey, OSDI '18): each sequence has its own directory with the same few synced
files; then a few operations; then an fsync of the file or the directory that the last one touched,
or a sync. Each crash state must satisfy:

- for persisted files: exactly what a file system in memory has at that point (the contents of a
  file; the names of a directory; everything);
- for all others: a name exists, or not, as at some step; each byte of a file is one that it had at
  that place at some step, and its length is between; a file that always has a name has one of its
  names, and no more names than it ever had at once (a rename is atomic).
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from blockio.write_log import Entry, LogFlag
from qbdcheck.guest.guest import Guest
from qbdcheck.guest.quick_shell import QuickShell

FOO, BAR, NEW, AWAY, HARD, SUB = "A/foo", "A/bar", "A/new", "B/foo", "A/hard", "A/sub"
FILES = {FOO: b"f" * 3000, BAR: b"b" * 1000}
"""The files at the start of each sequence; there is also the empty directory B."""
_SECTOR = 512
_DD, _SYNC = "/bin/dd", "/bin/sync"
"""GNU's programs: those of busybox lack direct writes and the sync of one file."""


class Inode:
    """A file with all its versions; ``now`` is the last."""

    def __init__(self, content: bytes) -> None:
        self.had = [content]
        self._known: dict[bytes, bool] = {}

    @property
    def now(self) -> bytes:
        """The present contents."""
        return self.had[-1]

    def fits(self, seen: bytes) -> bool:
        """Return whether each byte and the length are those of some version."""
        if seen not in self._known:
            lengths = [len(one) for one in self.had]
            self._known[seen] = min(lengths) <= len(seen) <= max(lengths) and all(
                any(at < len(one) and one[at] == byte for one in self.had)
                for at, byte in enumerate(seen)
            )
        return self._known[seen]


Names = dict[str, Inode | None]
"""Files by name; None for a directory."""


@dataclass(frozen=True)
class Operation:
    """``change`` returns the touched name, "" for none; KeyError: it is not possible here."""

    command: str
    change: Callable[[Names], str]


def _file(names: Names, name: str) -> Inode:
    found = names[name]
    if found is None:
        raise KeyError(name)
    return found


def _must_be_free(names: Names, name: str) -> None:
    if name in names:
        raise KeyError(name)


def _put(name: str, *contents: Callable[[bytes], bytes]) -> Callable[[Names], str]:
    """Change a file in one or more steps, each of which a crash may leave."""

    def change(names: Names) -> str:
        inode = _file(names, name)
        inode.had += [content(inode.now) for content in contents]
        return name

    return change


def _create(names: Names) -> str:
    _must_be_free(names, NEW)
    names[NEW] = Inode(b"")
    return NEW


def _write_new(names: Names) -> str:
    names.setdefault(NEW, Inode(b""))
    _file(names, NEW).had += [b"", b"n" * 1500]
    return NEW


def _rename(old: str, new: str) -> Callable[[Names], str]:
    def change(names: Names) -> str:
        names[new] = _file(names, old)
        del names[old]
        return new

    return change


def _link(names: Names) -> str:
    _must_be_free(names, HARD)
    names[HARD] = _file(names, FOO)
    return HARD


def _unlink(names: Names) -> str:
    del names[BAR]
    return ""


def _mkdir(names: Names) -> str:
    _must_be_free(names, SUB)
    names[SUB] = None
    return SUB


def _fallocate(names: Names) -> str:
    inode = _file(names, FOO)
    # Appended data that is not written yet reads as zeroes once the length is set.
    written = inode.now[: len(inode.had[0])]
    inode.had += [one.ljust(6000, b"\0") for one in (written, inode.now)]
    return FOO


def _bytes(letter: str, count: int) -> str:
    return f"head -c {count} /dev/zero | tr '\\0' {letter}"


OPERATIONS: dict[str, Operation] = {
    "create": Operation(f": > {NEW}", _create),
    "write": Operation(f"{_bytes('n', 1500)} > {NEW}", _write_new),
    "append": Operation(f"{_bytes('F', 1500)} >> {FOO}", _put(FOO, lambda old: old + b"F" * 1500)),
    "overwrite": Operation(
        f"{_bytes('O', 1024)} | dd of={FOO} bs=512 seek=1 conv=notrunc",
        _put(FOO, lambda old: old[:512].ljust(512, b"\0") + b"O" * 1024 + old[1536:]),
    ),
    "truncate": Operation(
        f"truncate -s 700 {FOO}",
        # The rest of the block is cleared in place, perhaps before the length is set.
        _put(FOO, lambda old: old[:700].ljust(len(old), b"\0"), lambda old: old[:700]),
    ),
    "punch": Operation(
        f"xfs_io -c 'fpunch 1024 1024' {FOO}",
        _put(FOO, lambda old: old[:1024] + bytes(len(old[1024:2048])) + old[2048:]),
    ),
    "fallocate": Operation(f"fallocate -l 6000 {FOO}", _fallocate),
    "rename over": Operation(f"mv {FOO} {BAR}", _rename(FOO, BAR)),
    "rename away": Operation(f"mv {FOO} {AWAY}", _rename(FOO, AWAY)),
    "link": Operation(f"ln {FOO} {HARD}", _link),
    "unlink": Operation(f"rm {BAR}", _unlink),
    "mkdir": Operation(f"mkdir {SUB}", _mkdir),
}
POINTS = ("fsync of it", "fsync of A", "sync")


@dataclass
class FileSequence:
    """One sequence. ``begin`` and ``end``: numbers of log entries, once they are known.

    :ivar steps: the files at the start and after each operation.
    :ivar target: what is fsynced; "" for a sync.
    """

    names: tuple[str, ...]
    point: str
    steps: list[Names]
    target: str
    begin: int = 0
    end: int = 0

    def __str__(self) -> str:
        return f"{', '.join(self.names)}, {self.point}"

    @property
    def command(self) -> str:
        """A shell command, in the sequence's directory."""
        commands = [OPERATIONS[name].command for name in self.names]
        return " && ".join([*commands, f"{_SYNC} {self.target}".strip()])

    def judge(self, files: Mapping[str, bytes | None], persisted: bool) -> str:
        """Return what is wrong with the files; "" if nothing."""
        return (self._persisted(files) if persisted else "") or (
            self._names(files) or self._whole(files)
        )

    def _persisted(self, files: Mapping[str, bytes | None]) -> str:
        last = self.steps[-1]
        if self.point == "fsync of A":
            expected, seen = ({one for one in names if one.startswith("A/")}
                              for names in (last, files))  # fmt: skip
            if seen != expected:
                return f"A has {sorted(seen)}, persisted were {sorted(expected)}"
            return ""
        for name in [self.target] if self.target else sorted({*last, *files}):
            if name not in files or name not in last:
                there = "there" if name in files else "lost"
                return f"{name} is {there}, and was persisted as something else"
            inode = last[name]
            if files[name] != (None if inode is None else inode.now):
                return f"{name} differs from its persisted contents: {_described(files[name])}"
        return ""

    def _names(self, files: Mapping[str, bytes | None]) -> str:
        for name in sorted({*files, *(name for step in self.steps for name in step)}):
            inodes = [step[name] for step in self.steps if name in step]
            seen = files.get(name)
            if name not in files:
                if len(inodes) == len(self.steps):
                    return f"{name} is lost"
            elif not inodes:
                return f"{name} exists, and never did"
            elif seen is not None and not any(one and one.fits(seen) for one in inodes):
                return f"{name} has contents that it never had: {_described(seen)}"
        return ""

    def _whole(self, files: Mapping[str, bytes | None]) -> str:
        """Check files that have a name at each step: they must have one, and not too many."""
        for inode in {id(one): one for step in self.steps for one in step.values()}.values():
            names = [{name for name in step if step[name] is inode} for step in self.steps]
            if inode is None or not all(names):
                continue
            ever = sorted(set().union(*names))
            there = [name for name in ever if _is(files.get(name), inode)]
            if not there:
                return f"the file of {ever[0]} has none of its names {ever}"
            surely = [name for name in there if not self._may_be_another(name, inode, files)]
            if len(surely) > max(map(len, names)):
                return f"the file of {ever[0]} has the names {surely}, and never had all of them"
        return ""

    def _may_be_another(self, name: str, inode: Inode, files: Mapping[str, bytes | None]) -> bool:
        others = (step.get(name) for step in self.steps)
        return any(one and one is not inode and _is(files[name], one) for one in others)


def _is(seen: bytes | None, inode: Inode) -> bool:
    return seen is not None and inode.fits(seen)


def _described(seen: bytes | None) -> str:
    if seen is None:
        return "a directory"
    runs = [f"{len(list(group))} of {key:#04x}" for key, group in itertools.groupby(seen)]
    return f"{len(seen)} bytes, {', '.join(runs[:4])}"


def sequences(length: int) -> Iterator[FileSequence]:
    """Yield all possible sequences of exactly ``length`` operations."""
    for names in itertools.product(OPERATIONS, repeat=length):
        for point in POINTS:
            now: Names = {"A": None, "B": None}
            now |= {name: Inode(data) for name, data in FILES.items()}
            steps, touched = [dict(now)], ""
            try:
                for name in names:
                    touched = OPERATIONS[name].change(now)
                    steps.append(dict(now))
            except KeyError:
                break
            if touched or point != POINTS[0]:
                target = {POINTS[0]: touched, POINTS[1]: "A"}.get(point, "")
                yield FileSequence(names, point, steps, target)


@dataclass
class SequenceHistory:
    """The sequences of a run; `locate` finds their start and end in the log."""

    sequences: Sequence[FileSequence]
    marks_at: int
    """Offset of the marks on the disk, behind the file system, in bytes."""
    acknowledged: list[int] = field(default_factory=list)

    def run(self, guest: Guest, mount: str) -> None:
        """Run all sequences in the guest, on its first disk; each mark is a write to the disk.

        :param mount: arguments of mount(8).
        """
        disk = guest.disks[0].path
        shell = QuickShell(guest)

        def line(text: str) -> None:
            status, _, errors = shell.run(text)
            if status:
                guest.fail(f"'{text}' ended with {status}: {errors.strip()}")

        def mark(text: str) -> str:
            place = f"seek={self.marks_at // _SECTOR} bs={_SECTOR} count=1 conv=sync,notrunc"
            return f"echo {text} | {_DD} of={disk} oflag=direct {place}"

        line(f"mount {mount} {disk} /mnt && {_SYNC}")
        for number, one in enumerate(self.sequences):
            line(f"cd /mnt/s{number} && {mark(f'begin {number}')} && {one.command}"
                 f" && {mark(f'end {number}')} && cd / && {_SYNC}")  # fmt: skip

    def locate(self, log: Sequence[Entry]) -> list[Entry]:
        """Return the log with writes to the place of marks turned into marks.

        :raise ValueError: a sequence has no mark.
        """
        marked, places = [], {}
        for number, entry in enumerate(log):
            if entry.offset == self.marks_at and entry.length:
                text = bytes(entry.data).partition(b"\n")[0].decode()
                places[text] = number
                marked.append(Entry(LogFlag.MARK, data=text.encode()))
            else:
                marked.append(entry)
        for number, one in enumerate(self.sequences):
            for moment in ("begin", "end"):
                if f"{moment} {number}" not in places:
                    raise ValueError(f"the log has no mark '{moment} {number}'")
            one.begin, one.end = places[f"begin {number}"], places[f"end {number}"]
        self.acknowledged = [one.end for one in self.sequences]
        return marked

    def _at(self, limit: int) -> int:
        return max(0, bisect_right([one.begin for one in self.sequences], limit) - 1)

    def directory(self, limit: int) -> str:
        """Return the directory of the sequence that was running."""
        return f"s{self._at(limit)}"

    def judge(self, limit: int, files: Mapping[str, bytes | None]) -> str:
        """Return what is wrong with the sequence that was running (as `FilePromises`)."""
        one = self.sequences[self._at(limit)]
        text = one.judge(files, persisted=one.end <= limit)
        return f"{one}: {text}" if text else ""
