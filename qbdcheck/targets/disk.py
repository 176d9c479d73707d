"""A disk of a case: a volume on the target, perhaps an image on it, and the shadow."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from injectors.layer import FIRED
from oracles.life import KILLED, Moment
from oracles.shadow import Shadow
from oracles.stamps import Bytes, Data
from qbdcheck.clock import case_s, pause, wall_s
from qbdcheck.errors import NotRun, ProgramError, SetupError
from qbdcheck.machine_speed import Limit
from qbdcheck.programs.blockdev import (
    Blockdev,
    dashed,
    file_node,
    json_filename,
    node,
    object_arguments,
    over,
)
from qbdcheck.programs.luks_clock import until_measured
from qbdcheck.programs.process import run, tail
from qbdcheck.programs.qemu_img import QemuImg
from qbdcheck.programs.requests_sent import resized
from qbdcheck.targets.advertised_sizes import usable_size
from qbdcheck.targets.disk_io import judge
from qbdcheck.targets.family import Family
from qbdcheck.targets.image_formats import (
    FIRST_WRITE,
    FORMAT_OPTIONS,
    SECRET,
    SECRET_OBJECT,
    cannot_grow,
    is_failure_of_target,
)
from qbdcheck.targets.lifecycle import Backend
from qbdcheck.targets.second_read import ReadAgain, SeenAgain, read_again
from qbdcheck.targets.sibling_export import (
    SiblingExport,
    clone_of,
    remove_snapshot,
    remove_volume,
    snapshot_of,
)
from reference_backend.client import Client

PREFILL_WHOLE_MAX = 64 << 20
"""Larger disks are prefilled only in their first and last `PREFILL_EDGE` bytes."""
PREFILL_EDGE = 4 << 20
_PREFILL_STEP = 16 << 20
_VERIFY_WHOLE_MAX = 256 << 20
"""Larger disks are read only where they were written or hold data. In bytes."""
_VERIFY_STRAY_MAX = 256 << 20
_STEM_MAX = 200
"""Bytes of a name in a file name; file systems allow 255, and there are suffixes."""


def file_stem(name: str) -> str:
    """Return a file name without suffix for a volume: a name may have slashes, or be very long."""
    safe = name.replace("/", "_")
    if len(safe.encode()) <= _STEM_MAX:
        return safe
    return f"{safe[:32]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


_IN_USE_S, _IN_USE_STEP_S = 5.0, 0.005
_AGAIN_S = 5.0
"""Time limit of a read that only tells more of a failure."""


class Disk:
    """A volume with known contents.

    Attributes: ``size`` in bytes, ``name``, ``format``, ``shadow`` (its expected contents),
    ``backend`` (the running target).
    """

    def __init__(
        self,
        backend: Backend,
        image_format: str,
        shadow: Shadow,
        qemu_img: QemuImg,
        scratch: Path,
        *,
        family: Family | None = None,
    ) -> None:
        self.backend = backend
        self.format = image_format
        self.shadow = shadow
        self.family = Family() if family is None else family
        self.family.join(lambda: self.shadow.history)
        backend.on_end.append(self._ended)
        shadow.history.clock = case_s
        shadow.history.volume, shadow.history.relatives = backend.name, self.family.histories
        shadow.history.faults.append(self._fired)
        self._qemu_img = qemu_img
        self._scratch = scratch

    def _fired(self) -> list[Moment]:
        """Return the faults that fired, from the events of the control socket."""
        away_s = case_s() - wall_s()
        return [
            Moment("fault", at_s=away_s + _seconds(event), text=_fault_text(event.get("data", {})))
            for events in self.backend.event_lists
            for event in list(events)
            if event["event"] == FIRED
        ]

    @property
    def name(self) -> str:
        """Name of the volume."""
        return self.backend.name

    @property
    def size(self) -> int:
        """Size in bytes that the guest sees."""
        return self.shadow.size

    # Names ---------------------------------------------------------------------------------------

    def protocol_blockdev(self, node_name: str | None = None, **options: object) -> Blockdev:
        """Return the blockdev options of the protocol node."""
        named: Blockdev = {"node-name": node_name} if node_name else {}
        return {**self.backend.blockdev, **named, **dashed(options)}

    def blockdev(self, node_name: str | None = None, **options: object) -> Blockdev:
        """Return the blockdev options of the disk: the format node on the protocol node."""
        if self.format == "luks":
            options = {"key_secret": SECRET, **options}
        if self.backend.description.is_read_only:
            options = {"read_only": True, **options}
        return over(self.format, self.protocol_blockdev(), node_name, **options)

    @property
    def filename(self) -> str:
        """File name for QEMU programs: ``json:{...}``."""
        return json_filename(self.blockdev())

    @property
    def uri(self) -> str:
        """NBD URI of the volume.

        :raise NotRun: the target has none.
        """
        uri = self.backend.uri
        if uri is None:
            raise NotRun(f"target {self.backend.description.name} has no NBD URI")
        return uri

    @property
    def volume_path(self) -> Path:
        """The socket or file behind the volume."""
        return self.backend.path

    def _file(self, kind: str) -> Path:
        """Return the path of a scratch file."""
        return self._scratch / f"{file_stem(self.name)}.{kind}"

    # Contents ------------------------------------------------------------------------------------

    def _writable(self) -> Blockdev:
        """Return the disk for its first contents: on a read-only target the file behind it."""
        if not self.backend.description.is_read_only:
            return self.blockdev()
        secret = {"key_secret": SECRET} if self.format == "luks" else {}
        return over(self.format, file_node(self.volume_path), None, **secret)

    def create_image(self, size: int, options: str) -> None:
        """Put an empty image of the format on the volume.

        :raise NotRun: QEMU cannot make this format on this target; has QEMU's message.
        :raise SetupError: the target failed a request.
        :raise CaseBroken: QEMU cannot measure the key derivation of LUKS on this machine.
        """
        is_read_only = self.backend.description.is_read_only
        filename = str(self.volume_path) if is_read_only else self.backend.filename
        parts = [part for part in (FORMAT_OPTIONS.get(self.format, ""), options) if part]
        arguments = ["-o", ",".join(parts)] if parts else []
        command = ("create", "-q", "-f", self.format, *arguments, filename, str(size))
        done = until_measured(lambda: self._qemu_img.run(*command, check=False))
        if done.returncode != 0:
            # Leave out the path: it differs from case to case, and summaries group by reason.
            reported = tail(done.stderr).replace(filename, self.name)
            if is_failure_of_target(self.format, reported):
                raise SetupError(f"creation of a {self.format} image failed: {reported}")
            raise NotRun(f"QEMU cannot make {self.format} on this target: {reported}")

    def prefill(self) -> None:
        """Fill the disk with stamps of generation 0, and flush.

        :raise SetupError: a write to the target or to the local disk fails.
        """
        part_file = self._file("prefill")
        for offset, length in self._prefill_ranges():
            data = self.shadow.prefill(offset, length)
            try:
                data.tofile(part_file)
            except OSError as error:
                raise SetupError(f"cannot write {part_file}: {error.strerror or error}") from None
            self._write_part(part_file, offset, length)
        part_file.unlink(missing_ok=True)
        self.shadow.flush()

    def zero_all(self) -> None:
        """Fill the disk with zeroes, and flush. For volumes whose fresh contents are undefined.

        :raise SetupError: a write to the target or to the local disk fails.
        """
        part_file = self._file("zeroes")
        with part_file.open("wb") as file:
            file.truncate(_PREFILL_STEP)
        for offset in range(0, self.size, _PREFILL_STEP):
            self._write_part(part_file, offset, min(_PREFILL_STEP, self.size - offset))
        part_file.unlink()

    def try_growing(self) -> None:
        """Write the first block of an empty image whose format allocates at the end of the file.

        QEMU's drivers allocate at the end of the volume (block/vmdk.c, block/vhdx.c). On a volume
        of fixed size the first write fails. The image must be created again afterwards.

        :raise NotRun: the write fails; has QEMU's message.
        """
        part_file = self._file("first")
        length = min(self.size, FIRST_WRITE)
        part_file.write_bytes(bytes([1]) * length)
        self._write_part(part_file, 0, length)
        part_file.unlink()

    def _prefill_ranges(self) -> Iterator[tuple[int, int]]:
        size = self.size
        whole = size <= PREFILL_WHOLE_MAX
        ranges = [(0, size)] if whole else [(0, PREFILL_EDGE), (size - PREFILL_EDGE, PREFILL_EDGE)]
        for start, length in ranges:
            for offset in range(start, start + length, _PREFILL_STEP):
                yield offset, min(_PREFILL_STEP, start + length - offset)

    def _write_part(self, file: Path, offset: int, length: int) -> None:
        programs = self.backend.programs
        write = f"write -q -s {file.name} {offset} {length}"
        argv = programs.argv(
            "qemu-io", "-t", "writeback", *self.object_arguments, json_filename(self._writable()),
            "-c", write, "-c", "flush",
        )  # fmt: skip
        try:
            done = run(argv, cwd=file.parent, timeout_s=60 * programs.slowdown)
        except ProgramError as error:
            silent = "qemu-io printed nothing, so the flush failed"
            reported = tail(error.stdout + error.stderr) or (
                silent if error.returncode else str(error)
            )
            if cannot_grow(self.format, reported):
                raise NotRun(
                    f"QEMU cannot write {self.format} on this target, which cannot grow beyond its "
                    f"size ({reported}); -t file can"
                ) from None
            raise SetupError(f"prefill of volume {self.name} failed: {reported}") from None
        if done.stdout.strip():
            raise SetupError(f"prefill of volume {self.name} failed: {tail(done.stdout)}")

    @property
    def object_arguments(self) -> list[str]:
        """Arguments that define the objects (secrets) to which the disk's nodes refer."""
        secret = [SECRET_OBJECT] if self.format == "luks" else []
        return object_arguments([*secret, *self.backend.objects])

    def verify(self, offset: int = 0, length: int | None = None) -> None:
        """Read everything through qemu-img and compare it with the shadow, sector by sector.

        Of disks above 256 MiB only ranges that were written or that claim to hold data are read.

        :raise WrongData: with a diagnosis for each run of sectors.
        """
        if offset or length is not None or self.size <= _VERIFY_WHOLE_MAX:
            self._verify_range(offset, self.size - offset if length is None else length)
            return
        used = list(self.shadow.used())
        for start, count in used:
            self._verify_range(start, count)
        left = _VERIFY_STRAY_MAX
        for start, count in self._stray_data(used):
            self._verify_range(start, min(count, left))
            left -= min(count, left)
            if not left:
                break

    def _verify_range(self, offset: int, length: int) -> None:
        for start in range(offset, offset + length, _VERIFY_WHOLE_MAX):
            count = min(_VERIFY_WHOLE_MAX, offset + length - start)
            data = self.read_all(start, count)
            self.shadow.history.lane = "qemu-img"
            what = f"volume {self.name} has wrong contents"
            judge(self.shadow, start, data, what, again=self.again)

    def judge(self, offset: int, data: Data) -> None:
        """Compare data that was read in any other way with the shadow.

        :raise WrongData: the data is not permitted there.
        """
        what = f"volume {self.name}, read {len(data)} bytes at {offset}"
        judge(self.shadow, offset, data, what, again=self.again)

    def read_all(self, offset: int = 0, length: int | None = None) -> Bytes:
        """Read a range through qemu-img and return it without comparison.

        ``qemu-img dd`` reads every byte; convert would trust the target's block status.
        """
        length = self.size - offset if length is None else length
        if length == 0:
            return np.empty(0, dtype=np.uint8)
        copy = self._file("copy")
        whole = offset == 0 and length == self.size
        source = self.blockdev() if whole else self._window(offset, length)
        shared = ["-U"] if self.format == "raw" else []
        try:
            names = f"if={json_filename(source)}", f"of={copy}"
            self._qemu_img("dd", *shared, "-O", "raw", "bs=2M", *names)
            data = np.fromfile(copy, dtype=np.uint8)
        finally:
            copy.unlink(missing_ok=True)
        # The window consists of whole sectors, and QEMU rounds sizes up to sectors.
        skip = 0 if whole else offset % 512
        return data[skip:] if whole else data[skip : skip + length]

    @property
    def again(self) -> ReadAgain | None:
        """Reads over a new NBD connection, past the shadow; None where the disk has none."""
        if self.format != "raw" or self.backend.uri is None:
            return None
        return self._read_again

    def _read_again(self, offset: int, length: int) -> SeenAgain:
        with Client.connect(self.uri, timeout_s=_AGAIN_S) as client:
            return read_again(client, offset, length)

    def _window(self, offset: int, length: int) -> Blockdev:
        start = offset - offset % 512
        end = min(-(-(offset + length) // 512) * 512, -(-self.size // 512) * 512)
        return node("raw", None, offset=start, size=end - start, file=self.blockdev())

    def _stray_data(self, used: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """Yield ranges that claim to hold data but were never written."""
        shared = ["-U"] if self.format == "raw" else []
        for extent in self._qemu_img.json("map", *shared, self.filename):
            if extent["data"] and not extent["zero"]:
                yield from _without(extent["start"], extent["length"], used)

    # Changes -------------------------------------------------------------------------------------

    def resize(self, size: int) -> None:
        """Change the size of the disk and of the shadow.

        :param size: in bytes; of a raw disk it is rounded up as by `TargetSession.new_disk`.
        """
        if self.format == "raw":
            size = usable_size(self.backend, size)
            self.backend.resize(size)
        else:
            shrink = ["--shrink"] if size < self.size else []
            done = self._qemu_img.run(
                "resize", "-q", *shrink, self.filename, str(size), check=False
            )
            if done.returncode != 0:
                raise NotRun(f"QEMU cannot resize this {self.format} image: {tail(done.stderr)}")
        resized(self.name, self.size, size)
        self.shadow.resize(size)

    def remove(self) -> None:
        """Remove a clone, or a volume made ``beside`` another; their server continues.

        :raise NotRun: the target has no action for it. :raise ProgramError: the server refuses.
        """
        self._remove(lambda: remove_volume(self.backend))
        self.family.note(f"volume {self.name} was removed")

    def _remove(self, act: Callable[[], None]) -> None:
        limit = Limit(_IN_USE_S)
        while True:
            try:
                act()
            except ProgramError:
                if limit.is_over:
                    raise
                pause(_IN_USE_STEP_S)
            else:
                break
        self.backend.on_end.remove(self._ended)

    def _ended(self, how: str, seed: int | None) -> None:
        """Record that the server has ended; only after a normal end all data must be there."""
        if how == "stop":
            self.shadow.history.note("restart")
        else:
            self.shadow.power_cut(seed, KILLED if how == "kill" else "")

    # Snapshots -----------------------------------------------------------------------------------

    def snapshot(self, name: str, take: bool = True) -> Snapshot:
        """Take a snapshot with the target's own action. Return it as a read-only disk.

        :param take: False for a snapshot that QEMU has just made through its driver.
        :raise NotRun: the target does not serve its snapshots.
        """
        served = snapshot_of(self.backend, name, take)
        taken = Snapshot(self, name, served, self._qemu_img, self._scratch)
        self.family.note(f"snapshot {name} of {self.name} was taken")
        return taken


class Snapshot(Disk):
    """A snapshot of a disk: the contents at one moment, read-only.

    Its shadow is a copy of the disk's. So send no request while it is taken, or compare the
    contents by yourself.
    """

    def __init__(
        self, disk: Disk, name: str, served: SiblingExport, qemu_img: QemuImg, scratch: Path
    ) -> None:
        super().__init__(
            served, disk.format, disk.shadow.copy(), qemu_img, scratch, family=disk.family
        )
        self._of = disk.backend
        self._snapshot = name
        self.shadow.history.volume = f"snapshot {name} of {disk.name}"

    def remove(self) -> None:
        """Remove the snapshot; tried again for 5 s while the server ends its last connection.

        :raise NotRun: the target has no action for it. :raise ProgramError: the server refuses.
        """
        self.backend.announce(alone=True)
        self._remove(lambda: remove_snapshot(self._of, self._snapshot))
        self.family.note(f"snapshot {self._snapshot} of {self._of.name} was removed")

    def clone(self, name: str) -> Disk:
        """Make a writable volume of the snapshot. Return it as a new disk.

        Its stamps name a different writer.

        :raise NotRun: the target does not make clones.
        """
        backend = clone_of(self._of, self._snapshot, name, self.backend.size)
        shadow = self.shadow.copy(writer=len(backend.host.siblings))
        clone = Disk(
            backend, self.format, shadow, self._qemu_img, self._scratch, family=self.family
        )
        shadow.history.volume = f"clone {name} of snapshot {self._snapshot} of {self._of.name}"
        self.family.note(f"clone {name} was made of snapshot {self._snapshot}")
        return clone


def _seconds(event: Mapping[str, Any]) -> float:
    """Return the time of a QMP event in seconds since the epoch."""
    stamp = event.get("timestamp", {})
    return float(stamp.get("seconds", 0)) + float(stamp.get("microseconds", 0)) / 1e6


def _fault_text(data: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in data.items())


def _without(start: int, length: int, used: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the parts of a range that are outside of the used ranges, which are sorted."""
    end = start + length
    for low, count in used:
        if low + count <= start or low >= end:
            continue
        if low > start:
            yield start, low - start
        start = max(start, low + count)
    if start < end:
        yield start, end - start
