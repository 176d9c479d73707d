"""What one case has of its target: it makes disks and programs, and ends them all."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from oracles.shadow import Shadow
from oracles.stamps import Identity
from qbdcheck.errors import ProgramError
from qbdcheck.options import Execution, GuestOptions, TargetOptions
from qbdcheck.programs.blockdev import dashed, json_filename, over
from qbdcheck.programs.installed import Programs
from qbdcheck.programs.machine import Machine
from qbdcheck.programs.monitored import Monitored
from qbdcheck.programs.qemu_img import QemuImg
from qbdcheck.programs.storage_daemon import StorageDaemon
from qbdcheck.targets.description import Description
from qbdcheck.targets.disk import GROWING_FORMATS, SECRET_OBJECT, Disk, volume_size
from qbdcheck.targets.disk_io import DiskIo
from qbdcheck.targets.lifecycle import Backend, State
from qbdcheck.targets.sibling_export import volume_beside
from reference_backend.client import Client, parse_uri

DEFAULT_SIZE = 8 << 20
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 1 << 50, "E": 1 << 60}
COMMAND_TIMEOUT_S = 30.0
_DEFAULT_EXECUTION, _DEFAULT_GUEST = Execution(), GuestOptions()
_Monitored = TypeVar("_Monitored", bound=Monitored)


def size_in_bytes(size: int | str) -> int:
    """Return bytes; takes ``64M`` as qemu-img does (powers of 1024).

    :raise ValueError: it is no size.
    """
    if isinstance(size, int):
        return size
    match = re.fullmatch(r"(\d+)([KMGTPE]?)", size.strip().upper())
    if match is None:
        raise ValueError(f"'{size}' is not a size; write bytes or 64K, 8M, 1G, 100T")
    return int(match[1]) * _UNITS[match[2]]


class TargetSession:
    """The target as one case sees it.

    :param scratch: the private directory of the case.
    :param case_id: goes into the stamps, so that data of another case is told apart.
    :param capabilities: what the target can do (probed).
    """

    def __init__(
        self,
        description: Description,
        options: TargetOptions,
        scratch: Path,
        *,
        execution: Execution = _DEFAULT_EXECUTION,
        guest_options: GuestOptions = _DEFAULT_GUEST,
        image_format: str = "raw",
        case_id: str = "",
        capabilities: Collection[str] = (),
    ) -> None:
        self.description = description
        self.name = description.name
        self.capabilities = frozenset(capabilities)
        self.options = options
        self.execution = execution
        self.guest_options = guest_options
        self.scratch = scratch
        self.image_format = image_format
        self.case_id = case_id
        self.programs = Programs(
            description.program_paths,
            gdb=options.gdb,
            valgrind=options.valgrind,
            log_dir=scratch,
        )
        self.qemu_img = QemuImg(self.programs, scratch)
        self.backends: list[Backend] = []
        self._ios: list[DiskIo] = []
        self._clients: list[Client] = []
        self._monitored: list[Monitored] = []
        self._disks: list[Disk] = []

    # Disks ---------------------------------------------------------------------------------------

    def new_disk(
        self,
        size: int | str = DEFAULT_SIZE,
        prefill: bool = True,
        format: str | None = None,  # noqa: A002  # the word that cases use
        name: str | None = None,
        beside: Disk | None = None,
        **options: Any,
    ) -> Disk:
        """Make a fresh volume, start its server, put an image and stamps on it.

        :param size: bytes, or ``"64M"``.
        :param format: image format; by default the one of this run.
        :param beside: a disk whose server is to serve this one too; no options then.
        :param options: of the target: min_block, preferred_block, max_block (bytes), read_only,
            tls and mutual_tls (a directory of certificates; makes a disk without prefill, which
            only who brings a TLS context can reach), write_log (a file).
        :raise NotRun: the target lacks an option, or QEMU cannot make the format there.
        :raise SetupError: the target does not come up.
        """
        image_format = format or self.image_format
        length = size_in_bytes(size)
        count = sum(1 + len(backend.tenants) for backend in self.backends)
        name = name or (f"disk{count}" if count else "disk")
        if beside is not None:
            served = volume_beside(beside.backend, name, volume_size(image_format, length))
            return self._filled(served, image_format, length, name, prefill=prefill)
        backend = self._backend(name, options)
        read_only = bool(options.get("read_only"))
        backend.create(volume_size(image_format, length))
        # A read-only volume is filled first, and made read-only afterwards.
        # Where it would forget everything between the two, it stays empty.
        volatile = self.description.volatile
        if read_only and volatile:
            prefill = False
        if options.get("tls") or options.get("mutual_tls"):
            prefill = False
        fill_first = read_only and not volatile and (prefill or image_format != "raw")
        backend.start(read_only=False if fill_first else None)
        disk = self._filled(backend, image_format, length, name, prefill=prefill)
        if fill_first:
            backend.stop()
            backend.start(read_only=True)
        return disk

    def _filled(
        self, backend: Backend, image_format: str, length: int, name: str, *, prefill: bool
    ) -> Disk:
        """Put an image and stamps on a volume that is served."""
        identity = Identity.of(f"{self.case_id}/{self.execution.seed}", name)
        disk = Disk(backend, image_format, Shadow(length, identity), self.qemu_img, self.scratch)
        self._disks.append(disk)
        if image_format == "luks" and SECRET_OBJECT not in self.qemu_img.objects:
            self.qemu_img.objects.append(SECRET_OBJECT)
        if image_format != "raw":
            disk.create_image(length, self.options.image_options)
        if image_format in GROWING_FORMATS and length and not prefill:
            disk.try_growing()
            disk.create_image(length, self.options.image_options)
        if image_format == "luks" and length and not prefill:
            disk.zero_all()
        if prefill and length:
            disk.prefill()
        return disk

    def _backend(self, name: str, options: Mapping[str, Any]) -> Backend:
        backend = Backend(
            self.description,
            self.programs,
            self.scratch,
            name,
            options,
            print_server=self.options.print_server,
        )
        self.backends.append(backend)
        return backend

    # Programs ------------------------------------------------------------------------------------

    def qemu_io(
        self,
        disk: Disk | str | Path,
        cache: str | None = None,
        aio: str | None = None,
        *,
        read_only: bool = False,
        discard: str = "unmap",
        options: Mapping[str, Any] | None = None,
        shadow: Shadow | None = None,
    ) -> DiskIo:
        """Open a long-lived qemu-io on a disk or on anything that qemu-io takes for a file name.

        :param cache: writeback, none, writethrough, directsync, unsafe; by default that of the run.
        :param aio: threads, native, io_uring; by default that of the run.
        :param options: further blockdev options of the top node.
        :param shadow: of what a file name or URI leads to; a disk brings its own.
        :raise ProgramError: it does not open; the message has QEMU's words.
        """
        cache = cache or self.options.cache
        aio = aio or self.options.aio
        words = ["-t", cache, "-d", discard]
        words += ["-i", aio] if aio else []
        words += ["-r"] if read_only else []
        filename = str(disk)
        if isinstance(disk, Disk):
            words += disk.object_words
            filename = json_filename({**disk.blockdev(), **dashed(options or {})})
            shadow = shadow or disk.shadow
        elif filename.startswith("nbd"):
            words += ["-f", "raw"]  # where raw is only guessed, QEMU restricts writes to sector 0
        elif options:
            driver = options.get("driver", "raw")
            rest = {key: value for key, value in options.items() if key != "driver"}
            file = {"driver": "file", "filename": filename}
            filename = json_filename(over(driver, file, None, **rest))
        io = DiskIo(
            self.programs.argv("qemu-io", *words, filename),
            self.scratch,
            f"qemu-io.{len(self._ios)}",
            shadow=shadow,
            cache=cache,
            timeout_s=COMMAND_TIMEOUT_S * self.programs.slowdown,
        )
        self._ios.append(io)
        return io

    def storage_daemon(self, *arguments: str) -> StorageDaemon:
        """Start a qemu-storage-daemon; ``arguments`` are further words of its command line.

        :raise ProgramError: it does not start.
        """
        name = f"qsd{self._number('qsd')}"
        objects = self.qemu_img.objects
        return self._keep(StorageDaemon(self.programs, self.scratch, name, arguments, objects))

    def machine(self, *arguments: str, kind: str = "pc") -> Machine:
        """Start a qemu-system without a running guest, of machine type ``none`` or ``pc``.

        :raise ProgramError: it does not start.
        """
        name = f"vm{self._number('vm')}"
        objects = self.qemu_img.objects
        return self._keep(
            Machine(self.programs, self.scratch, name, kind, arguments=arguments, objects=objects)
        )

    def _keep(self, program: _Monitored) -> _Monitored:
        self._monitored.append(program)
        return program

    def _number(self, kind: str) -> str:
        count = sum(program.name.startswith(kind) for program in self._monitored)
        return str(count) if count else ""

    def nbd(
        self,
        disk: Disk | str,
        structured: bool = True,
        extended: bool = False,
        contexts: Sequence[str] = ("base:allocation",),
        export_name: bool = False,
    ) -> Client:
        """Connect our raw NBD client to a disk or to a URI. The shadow does not follow it.

        :param export_name: with the option EXPORT_NAME alone, as the oldest clients do.
        :raise NotRun: the target has no NBD URI.
        """
        uri = disk.uri if isinstance(disk, Disk) else disk
        if export_name:
            address, name, _secure = parse_uri(uri)
            client = Client.open_socket(address)
            client.opt_export_name(name)
        else:
            client = Client.connect(
                uri, structured=structured, extended=extended, contexts=contexts
            )
        self._clients.append(client)
        return client

    # The end -------------------------------------------------------------------------------------

    def _save_volumes(self) -> None:
        """Copy each volume that is not a file to ``NAME.img`` in the scratch directory, as raw.

        A server that is not running has no volume to copy.
        """
        for disk in self._disks:
            if disk.backend.state is State.RUNNING and not disk.volume_path.is_file():
                image = self.scratch / f"{disk.name.replace('/', '_')}.img"
                with contextlib.suppress(ProgramError):
                    self.qemu_img("convert", "-O", "raw", disk.filename, image)

    def close(self) -> None:
        """End all programs and remove all volumes; with --keep the volumes stay.

        :raise ProgramError: a server died, or crashed while it was being stopped.
        """
        for io in self._ios:
            io.abandon()
        for client in self._clients:
            with contextlib.suppress(OSError):
                client.sock.close()
        for program in self._monitored:
            program.abandon()
        keep = self.execution.keep
        if keep:
            self._save_volumes()
        with contextlib.ExitStack() as ends:
            for backend in self.backends:
                ends.callback(backend.remove, keep)
            for backend in self.backends:
                if backend.state is State.RUNNING:
                    backend.end()
