"""The fixture ``dual_write``: a disk and a raw reference get the same requests and are compared."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from blockio.sizes import parse_size
from injectors.layer import create
from oracles.displacement import explained, summary
from oracles.dual_write import DualWrite
from oracles.finding import Finding, Findings
from oracles.mismatches import Mismatch, findings_of, render
from oracles.shadow import Shadow
from oracles.sides import InOrder, Layered, Outcome, Side
from oracles.stamps import Identity
from oracles.workload import Batch, Chance, Kind, Mix, Request, dump, generate
from qbdcheck.errors import CaseBroken, NotRun
from qbdcheck.kit.exported_disk import ExportedDisk
from qbdcheck.kit.local_sides import RawFile, ThroughQemuIo
from qbdcheck.kit.nbd_io import minimum_block
from qbdcheck.kit.nbd_side import NbdSide
from qbdcheck.kit.qemu_verifiers import DRIVERS, Verdict, verdict_of
from qbdcheck.programs.blockdev import Blockdev, file_node, json_filename
from qbdcheck.runner import measures
from qbdcheck.targets.disk import Disk
from qbdcheck.targets.second_read import AGAIN, looked_again
from qbdcheck.targets.session import TargetSession
from reference_backend.store.memory import MemoryStore
from reference_backend.store.volume import Volume as MemoryVolume

_STEP = 4 << 20
_UNIT = 4096
"""Bytes in which cases choose places of requests."""
_QEMU_ROUNDING = 512  # QEMU rounds sizes up to sectors


class Differs(AssertionError):  # noqa: N818  # the verdict on a target
    """The sides differ; ``mismatches`` describe where and how."""

    def __init__(self, mismatches: Sequence[Mismatch], record: Path | None) -> None:
        where = f"\nthe workload is in {record.name}" if record else ""
        self.findings = explained(findings_of(mismatches))
        head = f"{len(mismatches)} mismatches"
        head += f"; {text}" if (text := summary(self.findings)) else ""
        super().__init__(f"{head}:\n{render(mismatches)}{where}")
        self.mismatches = tuple(mismatches)


class Volume(Protocol):
    """The volume of a pair: a `Disk`, or a `MemoryDisk`."""

    shadow: Shadow

    @property
    def name(self) -> str:
        """Name, for the record of the workload."""

    @property
    def size(self) -> int:
        """Size in bytes."""


class MemoryDisk:
    """A prefilled volume in the memory of this process, for checks of the comparison itself."""

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.shadow = Shadow(size, Identity(1, 1))
        self.shadow.prefill()

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self.shadow.size


class Faults:
    """Rules under one side, which can start again."""

    def __init__(self, rules: str, seed: int) -> None:
        self.layer = create(rules, seed=seed)
        self._rules = rules
        self._fired: dict[int, bool] = {}

    def start_again(self) -> None:
        """Arm the rules as at the start, with all counts at 0."""
        self._note()
        self.layer.clear()
        self.layer.load(self._rules)

    def unfired(self) -> list[str]:
        """Return the numbers, from 1, of the rules that should have fired and never did."""
        self._note()
        return [str(number) for number, fired in self._fired.items() if not fired]

    def _note(self) -> None:
        # By their position: their ids are not reused when they are loaded again.
        for number, rule in enumerate(self.layer.describe()["rules"], 1):
            measures.count(measures.FAULTS, rule["fired"])
            fired = bool(rule["fired"] or rule["rule"].get("may_not_fire"))
            self._fired[number] = fired or self._fired.get(number, False)


class Pair:
    """A disk and its reference, compared. Offsets and lengths are in bytes.

    ``minimum`` is the advertised minimum block: offsets and lengths of requests must be multiples
    of it. `workload`, `peek` and `damage` take care of that by themselves.
    """

    def __init__(
        self,
        make: Callable[[], DualWrite],
        disk: Volume,
        directory: Path,
        *,
        faults: Faults | None = None,
        minimum: int = 1,
        discard_minimum: int = 1,
    ) -> None:
        self.minimum = minimum
        self._discard_minimum = max(minimum, discard_minimum)
        self._make = make
        self._dual = make()
        self._disk = disk
        self._directory = directory
        self._number = 0
        self._records = 0
        self._record: Path | None = None
        self._faults = faults

    @property
    def mismatches(self) -> list[Mismatch]:
        """All mismatches so far."""
        return self._dual.mismatches

    @property
    def target(self) -> Side:
        """The side of the disk."""
        return self._dual.target

    @property
    def reference(self) -> Side:
        """The other side."""
        return self._dual.reference

    def workload(self, random: Chance, count: int, **mix: Any) -> list[Batch]:
        """Return a random workload within the block sizes of the disk.

        :param mix: arguments of `Mix`.
        """
        mix["align"] = math.lcm(mix.get("align", 1), self.minimum)
        batches = generate(random, self._disk.size, count, Mix(**mix), first=self._number + 1)
        self._number += count
        return [tuple(self._allowed(request) for request in batch) for batch in batches]

    def _allowed(self, request: Request) -> Request:
        """Round a discard inwards to whole blocks; an empty one becomes a read.

        QEMU passes unaligned discards on to the server, but no other unaligned request
        (block/io.c, bdrv_co_pdiscard).
        """
        unit = self._discard_minimum
        if request.kind is not Kind.DISCARD or unit == 1:
            return request
        start = -(-request.offset // unit) * unit
        end = (request.offset + request.length) // unit * unit
        if start >= end:
            return replace(request, kind=Kind.READ, fua=False)
        return replace(request, offset=start, length=end - start)

    def run(self, batches: Sequence[Batch]) -> list[Mismatch]:
        """Record a workload, send it to both sides, and return the new mismatches."""
        self._records += 1
        self._record = self._directory / f"{self._disk.name}.workload.{self._records}.jsonl"
        self._record.write_text(dump(batches, self._disk.size, f"on {self._disk.name}"))
        requests = [request for batch in batches for request in batch]
        self._number = max([self._number, *(one.number for one in requests)])
        moved = sum(one.length for one in requests if one.kind in (Kind.READ, Kind.WRITE))
        measures.count_dual_write(len(requests), moved)
        try:
            return self._dual.run(batches)
        finally:
            self._dual.catch_up()

    def together(self, *requests: tuple[Any, ...]) -> list[Mismatch]:
        """Send requests in flight together, such as ``("write", 0, 4096), ("flush",)``."""
        made = []
        for kind, *place in requests:
            self._number += 1
            made.append(Request(self._number, Kind(kind), *place))
        return self.run([tuple(made)])

    def ask(self, kind: str, offset: int = 0, length: int = 0, **flags: bool) -> list[Mismatch]:
        """Send one request, such as ``read``, ``write`` or ``flush``; return the new mismatches.

        For ``resize`` the length is the new size.
        """
        self._number += 1
        return self.run([(Request(self._number, Kind(kind), offset, length, **flags),)])

    def peek(self, offset: int, length: int, side: str = "target") -> bytes:
        """Read from one side, past the comparison and the rules."""
        start, end = self._blocks(offset, length)
        (outcome,) = self._past(side, Request(0, Kind.READ, start, end - start), b"")
        return bytes(outcome.data[offset - start : offset - start + length])

    def damage(self, offset: int, data: bytes, side: str = "target") -> None:
        """Write to one side, past the comparison, the rules and the shadow."""
        start, end = self._blocks(offset, len(data))
        before = self.peek(start, offset - start, side) if offset > start else b""
        behind = offset + len(data)
        after = self.peek(behind, end - behind, side) if end > behind else b""
        self._past(side, Request(0, Kind.WRITE, start, end - start), before + data + after)

    def _blocks(self, offset: int, length: int) -> tuple[int, int]:
        """Return start and end of the whole blocks that hold a range."""
        end = -(-(offset + length) // self.minimum) * self.minimum
        return offset // self.minimum * self.minimum, end

    def _past(self, side: str, request: Request, data: bytes) -> list[Outcome]:
        below = self.target if side == "target" else self.reference
        below = _below(below)
        below.start((request,), [data])
        outcomes = below.finish()
        if outcomes[0].error:
            raise CaseBroken(f"{request} past the comparison: errno {outcomes[0].error}")
        return outcomes

    def verify(self, offset: int = 0, length: int | None = None) -> list[Mismatch]:
        """Compare every byte of a range; return the new mismatches."""
        return self._dual.verify(offset, length)

    def check(self) -> None:
        """Compare every byte, and raise if there was any mismatch.

        :raise Differs: there is a mismatch.
        """
        self.verify()
        if self.mismatches:
            raise Differs(self.mismatches, self._record)

    @staticmethod
    def must_find_none(found: Sequence[Mismatch]) -> None:
        """Raise AssertionError unless there is no mismatch."""
        if found:
            raise AssertionError(f"expected no mismatch, found {len(found)}:\n{render(found)}")

    @staticmethod
    def must_find_one(found: Sequence[Mismatch], **expected: Any) -> Mismatch:
        """Return the only mismatch, after a check of its attributes.

        :param expected: such as ``side="target"``, ``damage="stale"``, ``offset=``, ``length=``.
        :raise AssertionError: there is none, or more than one, or an attribute differs.
        """
        if len(found) != 1:
            wanted = ", ".join(f"{name}={value}" for name, value in expected.items())
            raise AssertionError(
                f"expected one mismatch ({wanted}), found {len(found)}:\n{render(found)}"
            )
        for name, value in expected.items():
            seen = getattr(found[0], name)
            if seen != value:
                raise AssertionError(f"{name} is {seen!r}, expected {value!r}:\n{found[0]}")
        return found[0]

    def start_again(self) -> None:
        """Restore the prefilled contents of both sides, and the rules; forget all mismatches."""
        if self._faults is not None:
            self._faults.start_again()
        shadow = Shadow(self._disk.size, self._disk.shadow.identity)
        shadow.history.clock = self._disk.shadow.history.clock
        shadow.history.faults = self._disk.shadow.history.faults
        data = shadow.prefill().tobytes()
        for start in range(0, len(data), _STEP):
            for side in ("target", "reference"):
                self.damage(start, data[start : start + _STEP], side)
        # In place, for all that refer to the shadow of the disk.
        self._disk.shadow.__dict__.update(shadow.__dict__)
        self._dual = self._make()

    def fails(self, batches: Sequence[Batch]) -> bool:
        """Return whether a workload fails after a fresh start; for `oracles.shrinking.shrink`."""
        self.start_again()
        self._dual.run(batches)
        self._dual.verify()
        return bool(self.mismatches)


class DualWriter:
    """The fixture ``dual_write``: makes pairs, and closes them."""

    def __init__(self, session: TargetSession, seed: int) -> None:
        self._session = session
        self._seed = seed
        self._closing: list[Callable[[], None]] = []
        self._faults: list[Faults] = []
        self._pairs = 0

    def __call__(
        self,
        disk: Disk,
        *,
        through: str | None = None,
        reference: str | Disk = "file",
        status: bool = True,
        rules: str | None = None,
        faulty: str = "target",
        exact: bool = False,
        **options: bool,
    ) -> Pair:
        """Return a pair of a disk and a reference with the same contents.

        :param through: the way to the disk: ``nbd`` (the raw client), ``qemu`` (an export of
            qemu-storage-daemon over the disk's blockdev), or ``qemu-io``. By default ``nbd`` if the
            disk is raw and its target has a URI, else ``qemu``.
        :param reference: ``file``, ``memory``, or another raw disk with the same contents.
        :param status: the workload asks for block status; slower.
        :param rules: rules (YAML) of `injectors` below the side that ``faulty`` names.
        :param exact: the case chooses places of requests, in units of 4096 bytes. The way to a disk
            with a larger minimum block is then ``qemu``, which reads and writes around them. The
            same holds with ``rules``.
        :param options: of `oracles.dual_write.DualWrite`.
        """
        self._pairs += 1
        is_exact = exact or rules is not None
        through = through or self._default_way(disk, is_exact=is_exact)
        ours, theirs = self._reference(reference, disk), self._side(disk, through, status)
        faults = None if rules is None else Faults(rules, self._seed)
        if faults is not None:
            self._faults.append(faults)
            if faulty == "target":
                theirs = Layered(theirs, faults.layer)
            else:
                ours = Layered(ours, faults.layer)

        look = None if faults is not None else looking_again(disk, theirs)

        def make() -> DualWrite:
            dual = DualWrite(ours, theirs, disk.shadow, **options)
            dual.look_again = look
            return dual

        minimum = minimum_block(disk) if disk.format == "raw" else 1
        return Pair(
            make,
            disk,
            self._session.scratch,
            faults=faults,
            minimum=minimum if through == "nbd" else 1,
            discard_minimum=minimum,
        )

    def in_memory(
        self, size: int | str, *, rules: str | None = None, faulty: str = "target", **options: bool
    ) -> Pair:
        """Return a pair of two volumes in memory, with the same stamps each time.

        For checks of the comparison itself: the damage is certain, and no target takes part.
        Arguments as for a disk.
        """
        self._pairs += 1
        disk = MemoryDisk(f"memory{self._pairs}", parse_size(str(size)))
        sides: dict[str, Side] = {}
        for name in ("target", "reference"):
            volume = MemoryVolume(MemoryStore(disk.size))
            self._fill(volume, disk.shadow)
            sides[name] = InOrder(volume)
        faults = None if rules is None else Faults(rules, self._seed)
        if faults is not None:
            self._faults.append(faults)
            sides[faulty] = Layered(sides[faulty], faults.layer)

        def make() -> DualWrite:
            return DualWrite(sides["reference"], sides["target"], disk.shadow, **options)

        return Pair(make, disk, self._session.scratch, faults=faults)

    def by_qemu(
        self,
        driver: str,
        disk: Disk,
        batches: Sequence[Batch],
        *,
        size: int | None = None,
        wrap: Callable[[Blockdev], Blockdev] = dict,
    ) -> Verdict:
        """Let QEMU compare a raw disk with a copy of its expected contents, under a workload.

        Close all pairs first. The disk's shadow does not follow the workload.

        :param driver: ``blkverify`` or ``quorum``.
        :param size: size of the copy in bytes, if it differs.
        :param wrap: puts a node (blkdebug) over each of the two.
        """
        self._pairs += 1
        raw = RawFile(self._session.scratch / f"{disk.name}.raw{self._pairs}", disk.size)
        self._closing.append(raw.close)
        self._fill(raw, disk.shadow)
        raw.resize(disk.size if size is None else size)
        top = DRIVERS[driver](wrap(file_node(raw.path)), wrap(disk.blockdev()))
        return verdict_of(lambda: self._session.qemu_io(json_filename(top), "writeback"), batches)

    def close(self) -> None:
        """Close all pairs.

        :raise CaseBroken: a rule under one of them never fired.
        """
        closing, self._closing = self._closing, []
        for close in reversed(closing):
            close()
        faults, self._faults = self._faults, []
        for one in faults:
            if unfired := one.unfired():
                raise CaseBroken(f"rules that never fired: {', '.join(unfired)}")

    def _reference(self, reference: str | Disk, disk: Disk) -> Side:
        if isinstance(reference, Disk):
            return self._side(reference, self._default_way(reference), status=False)
        plain: RawFile | MemoryVolume
        if reference == "memory":
            plain = MemoryVolume(MemoryStore(disk.size))
        else:
            path = self._session.scratch / f"{disk.name}.reference{self._pairs}"
            plain = RawFile(path, disk.size)
            self._closing.append(plain.close)
        self._fill(plain, disk.shadow)
        return InOrder(plain)

    @staticmethod
    def _fill(plain: RawFile | MemoryVolume, shadow: Shadow) -> None:
        for start, length in shadow.used():
            for offset in range(start, start + length, _STEP):
                part = min(_STEP, start + length - offset)
                plain.write(offset, shadow.expected(offset, part))

    @staticmethod
    def _default_way(disk: Disk, *, is_exact: bool = False) -> str:
        raw_nbd = disk.format == "raw" and disk.backend.uri is not None
        is_coarse = raw_nbd and is_exact and minimum_block(disk) > _UNIT
        return "nbd" if raw_nbd and not is_coarse else "qemu"

    def _side(self, disk: Disk, through: str, status: bool) -> Side:
        if through == "qemu-io":
            if disk.object_arguments:
                raise NotRun(f"qemu-io cannot open {disk.format} by a file name")
            io = self._session.qemu_io(disk.filename)
            self._closing.append(io.close)
            return InOrder(ThroughQemuIo(io, self._session.scratch, disk.size))
        if through == "nbd":
            uri = disk.uri
            side = NbdSide(uri, status=status, resizer=disk.backend.resize)
        else:
            export = ExportedDisk(self._session, disk)
            self._closing.append(export.close)
            side = NbdSide(
                export.uri, status=status, resizer=export.resize, rounding=_QEMU_ROUNDING
            )
        self._closing.append(side.close)
        return side


def looking_again(disk: Disk, side: Side) -> Callable[[Finding], Finding] | None:
    """Return a function that reads the place of a finding again; it does so for the first ones.

    It reads over the connection of the side, then over a new one. None where the disk has no other
    way to it.
    """
    again = disk.again
    if again is None:
        return None
    left = [AGAIN]

    def read_same(offset: int, length: int) -> bytes:
        side.start((Request(0, Kind.READ, offset, length),), [b""])
        (outcome,) = side.finish()
        if outcome.error:
            raise OSError(outcome.error, outcome.why or os.strerror(outcome.error))
        return bytes(outcome.data)

    def look(finding: Finding) -> Finding:
        left[0] -= 1
        if left[0] < 0:
            return finding
        return looked_again(disk.shadow, Findings([finding]), again, read_same)[0]

    return look


def _below(side: Side) -> Side:
    """Return a side without the rules over it."""
    return side.side if isinstance(side, Layered) else side
