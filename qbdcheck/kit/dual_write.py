"""The fixture ``dual_write``: a disk beside a raw reference, asked the same and compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from injectors.layer import create
from oracles.dual_write import DualWrite
from oracles.mismatches import Mismatch, findings_of, render
from oracles.shadow import Shadow
from oracles.sides import InOrder, Layered, Outcome, Side
from oracles.workload import Batch, Chance, Kind, Mix, Request, dump, generate
from qbdcheck.errors import CaseBroken, NotRun
from qbdcheck.kit.local_sides import RawFile, ThroughQemuIo
from qbdcheck.kit.nbd_side import NbdSide
from qbdcheck.kit.qemu_verifiers import DRIVERS, Verdict, verdict_of
from qbdcheck.programs.blockdev import Blockdev, file_node, json_filename
from qbdcheck.programs.qmp import QmpFailed
from qbdcheck.targets.disk import Disk
from qbdcheck.targets.session import TargetSession
from reference_backend.store.memory import MemoryStore
from reference_backend.store.volume import Volume

_STEP = 4 << 20
_QEMU_ROUNDING = 512
"""QEMU rounds sizes up to sectors."""


class Differs(AssertionError):  # noqa: N818  # the verdict on a target
    """The sides differ; ``mismatches`` say where and how."""

    def __init__(self, mismatches: Sequence[Mismatch], record: Path | None) -> None:
        where = f"\nthe workload is in {record.name}" if record else ""
        super().__init__(f"{len(mismatches)} mismatches:\n{render(mismatches)}{where}")
        self.mismatches = tuple(mismatches)
        self.findings = findings_of(mismatches)


class Faults:
    """Rules under one side, which can begin from their start again."""

    def __init__(self, rules: str, seed: int) -> None:
        self.layer = create(rules, seed=seed)
        self._rules = rules
        self._fired: dict[int, bool] = {}

    def start_again(self) -> None:
        """Arm the rules as they were at the start, all counts at 0."""
        self._note()
        self.layer.clear()
        self.layer.load(self._rules)

    def unfired(self) -> list[str]:
        """Return the numbers, from 1, of the rules that never fired and were to."""
        self._note()
        return [str(number) for number, fired in self._fired.items() if not fired]

    def _note(self) -> None:
        # By their place: their ids go on counting when they are loaded again.
        for number, told in enumerate(self.layer.describe()["rules"], 1):
            fired = bool(told["fired"] or told["rule"].get("may_not_fire"))
            self._fired[number] = fired or self._fired.get(number, False)


class Pair:
    """A disk and its reference, compared. Offsets and lengths are in bytes."""

    def __init__(
        self,
        make: Callable[[], DualWrite],
        disk: Disk,
        directory: Path,
        faults: Faults | None = None,
    ) -> None:
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
        """All mismatches up to now."""
        return self._dual.mismatches

    @property
    def target(self) -> Side:
        """The side of the disk."""
        return self._dual.target

    @property
    def reference(self) -> Side:
        """The other side."""
        return self._dual.reference

    def workload(self, chance: Chance, count: int, **mix: Any) -> list[Batch]:
        """Return a random workload for the disk; for the words of ``mix`` see `Mix`."""
        batches = generate(chance, self._disk.size, count, Mix(**mix), first=self._number + 1)
        self._number += count
        return batches

    def run(self, batches: Sequence[Batch]) -> list[Mismatch]:
        """Record a workload, ask both sides for it, and return the mismatches that are new."""
        self._records += 1
        self._record = self._directory / f"{self._disk.name}.workload.{self._records}.jsonl"
        self._record.write_text(dump(batches, self._disk.size, f"on {self._disk.name}"))
        self._number = max([self._number, *(r.number for batch in batches for r in batch)])
        try:
            return self._dual.run(batches)
        finally:
            self._dual.catch_up()

    def together(self, *requests: tuple[Any, ...]) -> list[Mismatch]:
        """Ask for requests in flight together: ``("write", 0, 4096), ("flush",)``."""
        made = []
        for kind, *place in requests:
            self._number += 1
            made.append(Request(self._number, Kind(kind), *place))
        return self.run([tuple(made)])

    def ask(self, kind: str, offset: int = 0, length: int = 0, **flags: bool) -> list[Mismatch]:
        """Ask for one request: ``read``, ``write``, ``zero``, ``discard``, ``flush``, ...

        For ``resize`` the length is the new size.
        """
        self._number += 1
        return self.run([(Request(self._number, Kind(kind), offset, length, **flags),)])

    def peek(self, offset: int, length: int, side: str = "target") -> bytes:
        """Read past the comparison and the rules."""
        (outcome,) = self._past(side, Request(0, Kind.READ, offset, length), b"")
        return bytes(outcome.data)

    def damage(self, offset: int, data: bytes, side: str = "target") -> None:
        """Write past the comparison and the rules: nobody is told."""
        self._past(side, Request(0, Kind.WRITE, offset, len(data)), data)

    def _past(self, side: str, request: Request, data: bytes) -> list[Outcome]:
        below = self.target if side == "target" else self.reference
        below = below.side if isinstance(below, Layered) else below
        below.start((request,), [data])
        outcomes = below.finish()
        if outcomes[0].error:
            raise CaseBroken(f"{request} past the comparison: error {outcomes[0].error}")
        return outcomes

    def verify(self, offset: int = 0, length: int | None = None) -> list[Mismatch]:
        """Compare every byte of a range; return the mismatches that are new."""
        return self._dual.verify(offset, length)

    def check(self) -> None:
        """Compare every byte, and judge all that was found.

        :raise Differs: there is a mismatch.
        """
        self.verify()
        if self.mismatches:
            raise Differs(self.mismatches, self._record)

    def start_again(self) -> None:
        """Put both sides back to the prefilled contents, the rules to their start, forget all."""
        if self._faults is not None:
            self._faults.start_again()
        shadow = Shadow(self._disk.size, self._disk.shadow.identity)
        data = shadow.prefill().tobytes()
        for start in range(0, len(data), _STEP):
            for side in ("target", "reference"):
                self.damage(start, data[start : start + _STEP], side)
        # Whoever holds the disk's shadow goes on holding the right one.
        self._disk.shadow.__dict__.update(shadow.__dict__)
        self._dual = self._make()

    def fails(self, batches: Sequence[Batch]) -> bool:
        """Say whether a workload fails from a fresh start; for `oracles.shrinking.shrink`."""
        self.start_again()
        self._dual.run(batches)
        self._dual.verify()
        return bool(self.mismatches)


class DualWriter:
    """What the fixture ``dual_write`` is: makes pairs, and ends them."""

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
        **options: bool,
    ) -> Pair:
        """Put a reference beside a disk, with the same contents.

        :param through: how the disk is reached: ``nbd`` (our client), ``qemu`` (an export of
            qemu-storage-daemon over the disk's blockdev), ``qemu-io``. By default ``nbd`` where the
            disk is raw and its target has a URI, else ``qemu``.
        :param reference: ``file``, ``memory``, or another raw disk with the same contents.
        :param status: block status is going to be asked for; slower.
        :param rules: rules (YAML) of `injectors` under the side that ``faulty`` names.
        :param options: of `oracles.dual_write.DualWrite`.
        """
        self._pairs += 1
        ours, theirs = self._reference(reference, disk), self._side(disk, through, status)
        faults = None if rules is None else Faults(rules, self._seed)
        if faults is not None:
            self._faults.append(faults)
            if faulty == "target":
                theirs = Layered(theirs, faults.layer)
            else:
                ours = Layered(ours, faults.layer)

        def make() -> DualWrite:
            return DualWrite(ours, theirs, disk.shadow, **options)

        return Pair(make, disk, self._session.scratch, faults)

    def by_qemu(
        self,
        driver: str,
        disk: Disk,
        batches: Sequence[Batch],
        *,
        size: int | None = None,
        wrap: Callable[[Blockdev], Blockdev] = dict,
    ) -> Verdict:
        """Let QEMU compare a raw disk with a copy of what it must hold, under a workload.

        Close all pairs first. What the workload writes, the disk's shadow does not learn.

        :param driver: ``blkverify`` or ``quorum``.
        :param size: of the copy in bytes, if it is to differ.
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
        """Close all pairs that were made up to now.

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
            return self._side(reference, None, status=False)
        plain: RawFile | Volume
        if reference == "memory":
            plain = Volume(MemoryStore(disk.size))
        else:
            path = self._session.scratch / f"{disk.name}.reference{self._pairs}"
            plain = RawFile(path, disk.size)
            self._closing.append(plain.close)
        self._fill(plain, disk.shadow)
        return InOrder(plain)

    @staticmethod
    def _fill(plain: RawFile | Volume, shadow: Shadow) -> None:
        for start, length in shadow.used():
            for offset in range(start, start + length, _STEP):
                part = min(_STEP, start + length - offset)
                plain.write(offset, shadow.expected(offset, part))

    def _side(self, disk: Disk, through: str | None, status: bool) -> Side:
        if through is None:
            raw_nbd = disk.format == "raw" and disk.backend.uri is not None
            through = "nbd" if raw_nbd else "qemu"
        if through == "qemu-io":
            if disk.object_words:
                raise NotRun(f"qemu-io by a file name opens no {disk.format}")
            io = self._session.qemu_io(disk.filename)
            self._closing.append(io.close)
            return InOrder(ThroughQemuIo(io, self._session.scratch, disk.size))
        if through == "nbd":
            uri = disk.uri
            side = NbdSide(uri, status=status, resizer=disk.backend.resize)
        else:
            export = _Export(self._session, disk)
            self._closing.append(export.close)
            side = NbdSide(
                export.uri, status=status, resizer=export.resize, rounding=_QEMU_ROUNDING
            )
        self._closing.append(side.close)
        return side


class _Export:
    """A disk exported by a qemu-storage-daemon of its own."""

    def __init__(self, session: TargetSession, disk: Disk) -> None:
        self._daemon = session.storage_daemon()
        self._disk = disk
        self._exports = 0
        self._uri = ""
        self._open()

    def uri(self) -> str:
        """Return the URI of the export of now."""
        return self._uri

    def resize(self, size: int) -> None:
        """Give the disk another size: exports keep QEMU from doing it, so there is none meanwhile.

        :raise NotRun: QEMU cannot.
        """
        exported = self._daemon.qmp("query-block-exports")[0]["id"]
        self._daemon.qmp("block-export-del", id=exported, mode="hard")
        self._daemon.wait_event("BLOCK_EXPORT_DELETED", id=exported)
        if self._disk.format == "raw":
            self._daemon.qmp("blockdev-del", node_name="target")
            self._disk.backend.resize(size)
            self._open()
            return
        try:
            self._daemon.qmp("block_resize", node_name="target", size=size)
        except QmpFailed as error:
            name = self._disk.format
            raise NotRun(f"QEMU cannot resize {name}: {error.description}") from None
        self._export()

    def close(self) -> None:
        """End the daemon."""
        self._daemon.close()

    def _open(self) -> None:
        self._daemon.add(self._disk.blockdev("target", discard="unmap"))
        self._export()

    def _export(self) -> None:
        self._exports += 1
        self._uri = self._daemon.export("target", f"target{self._exports}")
