"""The target of one case: makes disks and starts programs, and ends them all."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from blockio.sizes import format_size, parse_size
from oracles.shadow import Shadow
from oracles.stamps import Identity
from qbdcheck.errors import NotRun, ProgramError
from qbdcheck.machine_speed import elapsed_limit_s
from qbdcheck.options import Execution, GuestOptions, TargetOptions
from qbdcheck.programs.blockdev import dashed, json_filename, object_arguments, over
from qbdcheck.programs.installed import Programs
from qbdcheck.programs.machine import Machine
from qbdcheck.programs.monitored import Monitored
from qbdcheck.programs.qemu_img import QemuImg
from qbdcheck.programs.qemu_version import Version, qemu_version
from qbdcheck.programs.storage_daemon import StorageDaemon
from qbdcheck.targets.advertised_sizes import sizes_of, usable_size
from qbdcheck.targets.description import Description
from qbdcheck.targets.disk import PREFILL_WHOLE_MAX, Disk, file_stem
from qbdcheck.targets.disk_io import DiskIo
from qbdcheck.targets.driver_exports import DriverExports
from qbdcheck.targets.few_clients import Turns, most_clients
from qbdcheck.targets.fresh_contents import adopt_fresh
from qbdcheck.targets.image_formats import GROWING_FORMATS, SECRET_OBJECT, volume_size
from qbdcheck.targets.lifecycle import COMMAND_S, Backend
from qbdcheck.targets.run_server import ENDS_SERVER, RunServer, RunVolume, shared
from qbdcheck.targets.second_read import ReadAgain, SeenAgain, read_again
from qbdcheck.targets.sibling_export import volume_beside
from qbdcheck.targets.volume_state import State
from reference_backend.client import Client, parse_uri
from reference_backend.nbd.agreement import ReplyMode
from reference_backend.nbd.constants import HandshakeFlag

DEFAULT_SIZE = 8 << 20
COMMAND_TIMEOUT_S = 30.0
_DEFAULT_EXECUTION, _DEFAULT_GUEST = Execution(), GuestOptions()
_Monitored = TypeVar("_Monitored", bound=Monitored)


def must_agree(client: Client, mode: ReplyMode) -> None:
    """Check that a server agreed on the demanded headers.

    :raise NotRun: it refused them.
    """
    if client.mode < mode:
        raise NotRun(f"the server refuses {mode.name.lower()} headers, as --headers demands")


class TargetSession:
    """The target as one case sees it.

    :param scratch: the private directory of the case.
    :param case_id: part of the stamps, so that data of another case is recognised.
    :param capabilities: the probed capabilities of the target. With ``scope: run``, those to kill
        and crash a server count only with ``ends_server``.
    :param ends_server: whether the case may end its server; then ``scope: run`` shares none.
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
        ends_server: bool = False,
    ) -> None:
        self.description = description
        self.name = description.name
        self.capabilities = frozenset(capabilities)
        self._ends_server = ends_server
        if description.scope == "run" and not ends_server:
            self.capabilities -= ENDS_SERVER
        self.options = options
        self.execution = execution
        Client.headers = ReplyMode[(execution.headers or "structured").upper()]
        self.guest_options = guest_options
        self.scratch = scratch
        self.image_format = image_format
        self.case_id = case_id
        self.programs = Programs(
            description.program_paths,
            gdb=options.gdb,
            valgrind=options.valgrind,
            log_dir=scratch,
            build=description.build,
            install=description.install,
        )
        self.qemu_img = QemuImg(self.programs, scratch)
        self.backends: list[Backend] = []
        self._exports = DriverExports(self.storage_daemon)
        self._ios: list[DiskIo] = []
        self._clients: list[Client] = []
        self._monitored: list[Monitored] = []
        self._disks: list[Disk] = []
        Client.before = None
        self._turns: Turns | None = None
        if "few_clients" in self.capabilities:
            self._turns = Turns(self._uris, most_clients(description))
            Client.before = self._turns.before_address
            self.programs.before.append(self._turns.before_program)

    @property
    def qemu_version(self) -> Version:
        """Major and minor number of the version of the target's qemu-img."""
        return qemu_version(self.programs)

    @property
    def minimum_block(self) -> int:
        """Minimum block in bytes that the target advertises; 1 if it advertises none."""
        sizes = sizes_of(self.description, {})
        return sizes[0] if sizes is not None else 1

    @property
    def scale(self) -> int:
        """How many units of 4096 bytes are a minimum block, at least 1.

        A case whose places are multiples of 4096 bytes multiplies them by it.
        """
        return max(1, self.minimum_block // 4096)

    @property
    def maximum_block(self) -> int:
        """Maximum block in bytes that the target advertises; 32 MiB if it advertises none."""
        sizes = sizes_of(self.description, {})
        return sizes[2] if sizes is not None else 32 << 20

    @property
    def preferred_block(self) -> int:
        """Preferred block in bytes that the target advertises; 1 if it advertises none."""
        sizes = sizes_of(self.description, {})
        return sizes[1] if sizes is not None else 1

    # Disks ---------------------------------------------------------------------------------------

    def new_disk(
        self,
        size: int | str = DEFAULT_SIZE,
        prefill: bool = True,
        format: str | None = None,  # noqa: A002  # the word that cases use
        name: str | None = None,
        beside: Disk | None = None,
        *,
        zero: bool = True,
        exact: bool = False,
        within_s: float = COMMAND_S,
        **options: Any,
    ) -> Disk:
        """Make a fresh volume, start its server, create the image and write stamps.

        :param size: bytes, or ``"64M"``; of a raw disk it is rounded up to whole minimum blocks
            of the target, if these have more than 512 bytes, and to sizes that the target makes.
        :param format: image format; by default that of the run.
        :param beside: a disk whose server serves this one too. Then options are not allowed.
        :param zero: whether a volume without prefill is zeroed if the profile says
            ``fresh: undefined``.
        :param exact: whether to ask for this size also of a target that will round it.
        :param within_s: seconds of work that each command has that makes the volume.
        :param options: options of the target: min_block, preferred_block, max_block (bytes),
            read_only, tls and mutual_tls (a directory of certificates; the disk has no prefill,
            and only a client with a TLS context can reach it), write_log and request_log (a file).
        :raise NotRun: the target lacks an option, or QEMU cannot make the format on it.
        :raise SetupError: the target does not start.
        """
        image_format = format or self.image_format
        length = parse_size(size) if isinstance(size, str) else size
        count = sum(1 + len(backend.siblings) for backend in self.backends)
        used = {one.name for backend in self.backends for one in (backend, *backend.siblings)}
        while not name:  # some of the volumes before it may be removed
            candidate, count = f"disk{count}" if count else "disk", count + 1
            name = candidate if candidate not in used else None
        if beside is not None:
            if image_format == "raw":
                length = usable_size(beside.backend, length)
            size = usable_size(beside.backend, volume_size(image_format, length))
            served = volume_beside(beside.backend, name, size)
            return self._filled(served, image_format, length, name, prefill=prefill, zero=zero)
        backend = self._backend(name, options)
        if exact:
            backend.step = 1
        read_only = bool(options.get("read_only"))
        if image_format == "raw":
            length = usable_size(backend, length)
        backend.create(usable_size(backend, volume_size(image_format, length)), within_s)
        # A read-only volume is filled first and made read-only later. A volatile volume would lose
        # its data in between, so it stays empty.
        volatile = self.description.volatile
        if read_only and volatile:
            prefill = False
        if options.get("tls") or options.get("mutual_tls"):
            prefill = False
        zero = zero and not (options.get("tls") or options.get("mutual_tls"))
        must_fill = prefill or image_format != "raw" or self._is_undefined(image_format, zero)
        if must_fill and read_only and volatile:
            raise NotRun(
                f"target {self.name}: a volatile volume that is read-only cannot be filled"
            )
        fill_first = read_only and must_fill
        backend.start(read_only=False if fill_first else None)
        disk = self._filled(backend, image_format, length, name, prefill=prefill, zero=zero)
        if fill_first:
            backend.stop()
            backend.start(read_only=True)
        return disk

    def _filled(
        self,
        backend: Backend,
        image_format: str,
        length: int,
        name: str,
        *,
        prefill: bool,
        zero: bool,
    ) -> Disk:
        """Create the image on a running volume, and write stamps or zeroes."""
        is_undefined = self._is_undefined(image_format, zero)
        must_zero = is_undefined or image_format == "luks"
        self.qemu_img.objects += backend.objects
        if is_undefined and length > PREFILL_WHOLE_MAX:
            reason = f"fresh volumes are undefined, and {format_size(length)} are too many to zero"
            raise NotRun(f"target {self.name}: {reason}")
        identity = Identity.of_new(f"{self.case_id}/{self.execution.seed}", name)
        disk = Disk(
            backend,
            image_format,
            Shadow(length, identity, self.description.waived_policies),
            self.qemu_img,
            self.scratch,
        )
        self._disks.append(disk)
        if image_format == "luks" and SECRET_OBJECT not in self.qemu_img.objects:
            self.qemu_img.objects.append(SECRET_OBJECT)
        if image_format != "raw":
            disk.create_image(length, self.options.image_options)
        if image_format in GROWING_FORMATS and length and not prefill:
            disk.try_growing()
            disk.create_image(length, self.options.image_options)
        if is_undefined and self.description.has_volume_per_connection:
            adopt_fresh(disk)  # zeroes would end with the connection that writes them
        elif must_zero and length and not prefill:
            disk.zero_all()
        if prefill and length:
            disk.prefill()
        return disk

    def _is_undefined(self, image_format: str, zero: bool) -> bool:
        """Return whether a fresh disk must be zeroed, because nobody knows what it reads as."""
        return image_format == "raw" and zero and self.description.fresh == "undefined"

    def waived(self, policy: str) -> bool:
        """Return whether the target's profile waives a policy (qbdcheck.catalogue.policies).

        :raise KeyError: there is no such policy.
        """
        return self.description.waived(policy)

    def _backend(self, name: str, options: Mapping[str, Any]) -> Backend:
        print_server = self.options.print_server
        backend: Backend
        if self.description.scope == "run":
            server = None if options or self._ends_server else shared(self.description)
            owned = server is None
            if server is None:
                parent = self.scratch / f"{name}.server"
                parent.mkdir(mode=0o700)
                server = RunServer(
                    self.description, self.programs, parent, options, print_server=print_server
                )
            backend = RunVolume(server, self.programs, self.scratch, name, owned=owned)
        else:
            backend = Backend(
                self.description,
                self.programs,
                self.scratch,
                name,
                options,
                print_server=print_server,
            )
        self.backends.append(backend)
        backend.listeners.before_change.append(self._exports.end_before_change)
        return backend

    @property
    def disks(self) -> Sequence[Disk]:
        """The disks of the case, in the order in which they were made."""
        return tuple(self._disks)

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
        """Open a long-lived qemu-io on a disk, or on any file name that qemu-io accepts.

        :param cache: writeback, none, writethrough, directsync, unsafe; by default that of the run.
        :param aio: threads, native, io_uring; by default that of the run.
        :param options: further blockdev options of the top node.
        :param shadow: the shadow for a file name or URI. A disk has its own.
        :raise ProgramError: QEMU does not open it; the message has QEMU's output.
        """
        cache = cache or self.options.cache
        aio = aio or self.options.aio
        arguments = ["-t", cache, "-d", discard]
        arguments += ["-i", aio] if aio else []
        is_read_only = isinstance(disk, Disk) and self.description.is_read_only
        arguments += ["-r"] if read_only or is_read_only else []
        filename = str(disk)
        again, block = None, 1
        if isinstance(disk, Disk):
            has_blocks = disk.format == "raw" and disk.backend.sizes is not None
            block = disk.backend.sizes[0] if has_blocks and disk.backend.sizes else 1
        elif shadow is not None:  # a node or an export over a disk, with its minimum block
            block = self.minimum_block
        if not isinstance(disk, Disk):
            arguments += object_arguments([text for each in self.backends for text in each.objects])
        if isinstance(disk, Disk):
            again = disk.again
            arguments += disk.object_arguments
            filename = json_filename({**disk.blockdev(), **dashed(options or {})})
            shadow = shadow or disk.shadow
        elif filename.startswith("nbd"):
            arguments += ["-f", "raw"]  # if QEMU probes raw, it restricts writes to sector 0
        elif options:
            driver = options.get("driver", "raw")
            rest = {key: value for key, value in options.items() if key != "driver"}
            file = {"driver": "file", "filename": filename}
            filename = json_filename(over(driver, file, None, **rest))
        io = DiskIo(
            self.programs.argv("qemu-io", *arguments, filename),
            self.scratch,
            f"qemu-io.{len(self._ios)}",
            shadow=shadow,
            cache=cache,
            timeout_s=COMMAND_TIMEOUT_S * self.programs.slowdown,
            again=again,
            block=block,
        )
        self._ios.append(io)
        return io

    def storage_daemon(self, *arguments: str) -> StorageDaemon:
        """Start a qemu-storage-daemon. ``arguments``: further arguments of its command line.

        :raise ProgramError: the program does not start.
        """
        name = f"qsd{self._number('qsd')}"
        objects = self.qemu_img.objects
        return self._keep(StorageDaemon(self.programs, self.scratch, name, arguments, objects))

    def machine(self, *arguments: str, kind: str = "pc") -> Machine:
        """Start a qemu-system without a running guest. ``kind``: machine type ``none`` or ``pc``.

        :raise ProgramError: the program does not start.
        """
        name = f"vm{self._number('vm')}"
        objects = self.qemu_img.objects
        return self._keep(
            Machine(self.programs, self.scratch, name, kind, arguments=arguments, objects=objects)
        )

    def _keep(self, program: _Monitored) -> _Monitored:
        self._monitored.append(program)
        if self._turns is not None:
            program.before = self._turns.before_program
        return program

    def _uris(self) -> list[str]:
        """Return the NBD URIs of the servers that run."""
        running = [one for one in self.backends if one.state is State.RUNNING]
        return [one.uri for one in running if one.uri is not None]

    def _number(self, kind: str) -> str:
        count = sum(program.name.startswith(kind) for program in self._monitored)
        return str(count) if count else ""

    def nbd(
        self,
        disk: Disk | str,
        structured: bool | None = None,
        extended: bool | None = None,
        contexts: Sequence[str] = ("base:allocation",),
        export_name: bool = False,
    ) -> Client:
        """Connect the raw NBD client to a disk or to a URI. The shadow does not follow its writes.

        :param structured: ask for structured replies; None: as ``--headers`` says.
        :param extended: likewise for extended headers.
        :param export_name: send only the option EXPORT_NAME, like the oldest clients.
        :raise NotRun: the target refuses the headers that ``--headers`` demands.
        """
        uri = self._uri_of(disk) if isinstance(disk, Disk) else disk
        if export_name:
            address, name, _secure = parse_uri(uri)
            client = Client.open_socket(address, timeout_s=elapsed_limit_s(COMMAND_TIMEOUT_S))
            no_zeroes = bool(client.handshake_flags & HandshakeFlag.NO_ZEROES)
            client.opt_export_name(name, no_zeroes=no_zeroes)
        else:
            client = Client.connect(
                uri,
                structured=structured,
                extended=extended,
                contexts=contexts,
                timeout_s=elapsed_limit_s(COMMAND_TIMEOUT_S),
            )
        self._clients.append(client)
        demanded = self.execution.headers
        if demanded and structured is None and extended is None and not export_name:
            must_agree(client, ReplyMode[demanded.upper()])
        return client

    def needs_export(self, disk: Disk) -> bool:
        """Return whether a raw client reaches a disk only through a qemu-storage-daemon."""
        no_client = bool(self.capabilities) and "nbd" not in self.capabilities
        return disk.backend.uri is None or no_client

    def export(self, disk: Disk) -> str:
        """Return the NBD URI of an export of a disk's volume by a qemu-storage-daemon.

        It is made once, and ends when the server ends or the volume changes its size.

        :raise ProgramError: the daemon does not start, or does not open the volume.
        """
        return self._exports.uri(disk)

    def again(self, disk: Disk) -> ReadAgain | None:
        """Return what reads a disk again over a new connection, also through an export."""
        return disk.again if not self.needs_export(disk) else partial(self._read_again, disk)

    def _read_again(self, disk: Disk, offset: int, length: int) -> SeenAgain:
        with self.nbd(disk) as client:
            return read_again(client, offset, length)

    def _uri_of(self, disk: Disk) -> str:
        return self.export(disk) if self.needs_export(disk) else disk.uri

    # The end -------------------------------------------------------------------------------------

    def _save_volumes(self) -> None:
        """Copy each volume that is not a file to ``NAME.img`` in the scratch directory, as raw.

        A server that is not running has no volume to copy.
        """
        for disk in self._disks:
            if disk.backend.state is State.RUNNING and not disk.volume_path.is_file():
                image = self.scratch / f"{file_stem(disk.name)}.img"
                with contextlib.suppress(ProgramError):
                    self.qemu_img("convert", "-O", "raw", disk.filename, image)

    def close(self) -> None:
        """End all programs and remove all volumes; with --keep the volumes stay.

        :raise ProgramError: a server or the daemon of an export died, or failed at its end.
        """
        Client.before = None
        self.programs.before.clear()
        for io in self._ios:
            io.abandon()
        for client in self._clients:
            with contextlib.suppress(OSError):
                client.sock.close()
        keep = self.execution.keep
        with contextlib.ExitStack() as ends:
            for backend in self.backends:
                ends.callback(backend.remove, keep)
            for program in self._monitored:
                ends.callback(program.abandon)
            self._exports.close()
            for program in self._monitored:
                program.abandon()
            if keep:
                self._save_volumes()
            for backend in self.backends:
                if backend.state is State.RUNNING:
                    backend.end()
