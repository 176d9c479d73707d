"""A disk of a case: a volume on the target, an image format on top if asked for, its shadow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from oracles.shadow import Shadow
from oracles.stamps import Bytes, Data
from qbdcheck.clock import now_s, pause
from qbdcheck.errors import NotRun, ProgramError, SetupError
from qbdcheck.programs.blockdev import Blockdev, dashed, json_filename, node, over
from qbdcheck.programs.process import run, tail
from qbdcheck.programs.qemu_img import QemuImg
from qbdcheck.targets.disk_io import judge
from qbdcheck.targets.lifecycle import Backend
from qbdcheck.targets.sibling_export import SiblingExport, clone_of, remove_snapshot, snapshot_of

SECRET = "qbdcheck-secret"  # noqa: S105
"""Id and contents of the secret object that opens encrypted images."""
SECRET_OBJECT = f"secret,id={SECRET},data={SECRET}"
PREFILL_WHOLE_MAX = 64 << 20
"""Larger disks are prefilled only in their first and last `PREFILL_EDGE` bytes."""
PREFILL_EDGE = 4 << 20
_PREFILL_STEP = 16 << 20
_VERIFY_WHOLE_MAX = 256 << 20
"""Disks up to here are read as a whole; of larger ones what was written and what holds data."""
_VERIFY_STRAY_MAX = 256 << 20
_FORMAT_SLACK = 16 << 20
_LUKS_HEADER = 2068480
"""Bytes, as `qemu-img measure -O luks` says of the default cipher (aes-256, xts)."""
_LUKS_TRIES = 8
"""QEMU's measurement of the CPU time fails in a third of all tries (docs/findings.md)."""
FORMAT_OPTIONS = {
    "vpc": "force_size=on",
    "luks": f"key-secret={SECRET},iter-time=100",
}
"""Options of `qemu-img create` that a format needs here: an exact size, a key, a quick one."""


def volume_size(image_format: str, size: int) -> int:
    """Return how large a volume an image of ``size`` bytes needs, full and with a snapshot."""
    if image_format == "raw":
        return size
    if image_format == "luks":  # its disk is all that the header leaves of the volume
        return size + _LUKS_HEADER
    return 2 * size + _FORMAT_SLACK


GROWING_FORMATS = ("vmdk", "vhdx")
"""Formats of which an empty image can be made on any volume, and written only where it grows."""
_FIRST_WRITE = 64 << 10
"""Bytes: a whole grain of vmdk, which QEMU does not have to read before it writes it."""
_CANNOT_GROW = ("Invalid argument", "No space left on device")
"""What an image says whose data wants to lie behind the end of a volume that cannot grow."""


_IN_USE_S, _IN_USE_STEP_S = 5.0, 0.005


class Disk:
    """A volume with known contents.

    Attributes: ``size`` in bytes, ``name``, ``format``, ``shadow`` (what it must contain),
    ``backend`` (the running target).
    """

    def __init__(
        self,
        backend: Backend,
        image_format: str,
        shadow: Shadow,
        qemu_img: QemuImg,
        scratch: Path,
    ) -> None:
        self.backend = backend
        self.format = image_format
        self.shadow = shadow
        backend.on_power_lost.append(shadow.power_cut)
        self._qemu_img = qemu_img
        self._scratch = scratch

    @property
    def name(self) -> str:
        """Name of the volume."""
        return self.backend.name

    @property
    def size(self) -> int:
        """Size in bytes, as the guest sees it."""
        return self.shadow.size

    # Names ---------------------------------------------------------------------------------------

    def protocol_blockdev(self, node_name: str | None = None, **options: object) -> Blockdev:
        """blockdev options of the protocol node alone."""
        named: Blockdev = {"node-name": node_name} if node_name else {}
        return {**self.backend.blockdev, **named, **dashed(options)}

    def blockdev(self, node_name: str | None = None, **options: object) -> Blockdev:
        """blockdev options of the whole disk, format node on protocol node."""
        if self.format == "luks":
            options = {"key_secret": SECRET, **options}
        return over(self.format, self.protocol_blockdev(), node_name, **options)

    @property
    def filename(self) -> str:
        """One argument for QEMU programs: ``json:{...}``."""
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
        """Return the path of a scratch file; a snapshot's name may have slashes."""
        return self._scratch / f"{self.name.replace('/', '_')}.{kind}"

    # Contents ------------------------------------------------------------------------------------

    def create_image(self, size: int, options: str) -> None:
        """Put an empty image of the format on the volume.

        :raise NotRun: QEMU cannot make this format on this target; with its own words.
        """
        filename = self.backend.filename
        if filename is None:
            name = self.backend.description.name
            raise NotRun(f"target {name} has no file name for qemu-img create")
        parts = [part for part in (FORMAT_OPTIONS.get(self.format, ""), options) if part]
        words = ["-o", ",".join(parts)] if parts else []
        for _ in range(_LUKS_TRIES if self.format == "luks" else 1):
            done = self._qemu_img.run(
                "create", "-q", "-f", self.format, *words, filename, str(size), check=False
            )
            if "accurate CPU usage" not in done.stderr:
                break
        if done.returncode != 0:
            # Without the path, which differs from case to case: summaries group by reason.
            said = tail(done.stderr).replace(filename, self.name)
            raise NotRun(f"QEMU cannot make {self.format} on this target: {said}")

    def prefill(self) -> None:
        """Fill the disk with stamps of generation 0, durably.

        :raise SetupError: the target or the local disk refuses them.
        """
        part_file = self._file("prefill")
        for offset, length in self._prefill_ranges():
            data = self.shadow.prefill(offset, length)
            try:
                data.tofile(part_file)
            except OSError as error:
                raise SetupError(f"cannot write {part_file}: {error.strerror}") from None
            self._write_part(part_file, offset, length)
        part_file.unlink(missing_ok=True)
        self.shadow.flush()

    def zero_all(self) -> None:
        """Write zeroes all over, durably: an encrypted image reads as noise until it is written.

        :raise SetupError: the target or the local disk refuses them.
        """
        part_file = self._file("zeroes")
        with part_file.open("wb") as file:
            file.truncate(_PREFILL_STEP)
        for offset in range(0, self.size, _PREFILL_STEP):
            self._write_part(part_file, offset, min(_PREFILL_STEP, self.size - offset))
        part_file.unlink()

    def try_growing(self) -> None:
        """Write the first block of an empty image whose format allocates at the end of the file.

        QEMU's drivers take the end of the volume for that (block/vmdk.c, block/vhdx.c), so that on
        a volume of fixed size not even the first write succeeds. The image is to be made again.

        :raise NotRun: so it is here; with QEMU's words.
        """
        part_file = self._file("first")
        length = min(self.size, _FIRST_WRITE)
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
            "qemu-io", "-t", "writeback", *self.object_words, self.filename,
            "-c", write, "-c", "flush",
        )  # fmt: skip
        try:
            done = run(argv, cwd=file.parent, timeout_s=60 * programs.slowdown)
        except ProgramError as error:
            said = tail(error.stdout + error.stderr) or str(error)
            if self.format != "raw" and any(words in said for words in _CANNOT_GROW):
                raise NotRun(f"QEMU cannot write {self.format} on this target: {said}") from None
            raise SetupError(f"prefill of volume {self.name} failed: {said}") from None
        if done.stdout.strip():
            raise SetupError(f"prefill of volume {self.name} failed: {tail(done.stdout)}")

    @property
    def object_words(self) -> list[str]:
        """Words that define the objects that the disk's nodes refer to (secrets)."""
        return ["--object", SECRET_OBJECT] if self.format == "luks" else []

    def verify(self, offset: int = 0, length: int | None = None) -> None:
        """Read everything through qemu-img and compare it with the shadow, sector by sector.

        Of disks above 256 MiB: what was ever written, and whatever else claims to hold data.

        :raise WrongData: with a diagnosis per run of sectors.
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
            judge(self.shadow, start, data, f"volume {self.name} is not what it must be")

    def judge(self, offset: int, data: Data) -> None:
        """Compare what was read by any other way with the shadow.

        :raise WrongData: it is not what must be there.
        """
        judge(self.shadow, offset, data, f"volume {self.name}, read {len(data)} bytes at {offset}")

    def read_all(self, offset: int = 0, length: int | None = None) -> Bytes:
        """Return a range as it is, read through qemu-img, not compared with anything.

        ``qemu-img dd`` reads every byte; convert would believe the target's block status.
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
        # A window is widened to sectors, and QEMU rounds sizes up to them.
        skip = 0 if whole else offset % 512
        return data[skip:] if whole else data[skip : skip + length]

    def _window(self, offset: int, length: int) -> Blockdev:
        start = offset - offset % 512
        end = min(-(-(offset + length) // 512) * 512, -(-self.size // 512) * 512)
        return node("raw", None, offset=start, size=end - start, file=self.blockdev())

    def _stray_data(self, used: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """Give the ranges that claim to hold data although nobody wrote there."""
        shared = ["-U"] if self.format == "raw" else []
        for extent in self._qemu_img.json("map", *shared, self.filename):
            if extent["data"] and not extent["zero"]:
                yield from _without(extent["start"], extent["length"], used)

    # Changes -------------------------------------------------------------------------------------

    def resize(self, size: int) -> None:
        """Give the disk another size, in bytes; the shadow follows."""
        if self.format == "raw":
            self.backend.resize(size)
        else:
            shrink = ["--shrink"] if size < self.size else []
            done = self._qemu_img.run(
                "resize", "-q", *shrink, self.filename, str(size), check=False
            )
            if done.returncode != 0:
                raise NotRun(f"QEMU cannot resize this {self.format} image: {tail(done.stderr)}")
        self.shadow.resize(size)

    # Snapshots -----------------------------------------------------------------------------------

    def snapshot(self, name: str) -> Snapshot:
        """Take a snapshot by the target's own way; return it, to be read.

        :raise NotRun: the target does not serve its snapshots.
        """
        served = snapshot_of(self.backend, name)
        return Snapshot(self, name, served, self._qemu_img, self._scratch)


class Snapshot(Disk):
    """A snapshot of a disk: what the disk was when it was taken, read-only.

    Its shadow is a copy of the disk's, so make no request while it is taken, or judge by yourself
    what may be in it.
    """

    def __init__(
        self, disk: Disk, name: str, served: SiblingExport, qemu_img: QemuImg, scratch: Path
    ) -> None:
        super().__init__(served, disk.format, disk.shadow.copy(), qemu_img, scratch)
        self._of = disk.backend
        self._snapshot = name

    def remove(self) -> None:
        """Remove the snapshot.

        A server that refuses this while a client is connected may be busy still with the end of the
        last one: it is asked again for 5 s.

        :raise NotRun: the target has no way to. :raise ProgramError: it refuses.
        """
        deadline = now_s() + _IN_USE_S
        while True:
            try:
                remove_snapshot(self._of, self._snapshot)
            except ProgramError:
                if now_s() >= deadline:
                    raise
                pause(_IN_USE_STEP_S)
            else:
                break
        self.backend.on_power_lost.remove(self.shadow.power_cut)

    def clone(self, name: str) -> Disk:
        """Make a writable volume of the snapshot; return it as a disk of its own.

        Its stamps have a writer of their own.

        :raise NotRun: the target makes no clones.
        """
        backend = clone_of(self._of, self._snapshot, name, self.backend.size)
        shadow = self.shadow.copy(writer=len(backend.host.siblings))
        return Disk(backend, self.format, shadow, self._qemu_img, self._scratch)


def _without(start: int, length: int, used: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Give what is left of a range when the used ranges (in order) are taken out."""
    end = start + length
    for low, count in used:
        if low + count <= start or low >= end:
            continue
        if low > start:
            yield start, low - start
        start = max(start, low + count)
    if start < end:
        yield start, end - start
