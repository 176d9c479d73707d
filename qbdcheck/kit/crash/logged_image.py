"""A disk of any target behind QEMU's blklogwrites, which logs each write to the volume.

    logged = LoggedImage(disk, qemu_io, qemu_img, scratch)
    with logged.opened():
        logged.write(0, 4096)
        logged.flush()
    logged.explore(judge, seed).must_be_clean()

The promises to the guest are recorded (`oracles.crash_states.promises`); crash states are those of
the volume (block/blklogwrites.c of QEMU: writes with FUA are logged as a write and a flush, zeroes
as data, failed writes as successful ones).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from blockio.write_log import Entry, entries_in, read_log, write_log
from oracles.crash_states.families import Bounds
from oracles.crash_states.picture import picture
from oracles.crash_states.promises import Promises
from oracles.crash_states.states import CrashStates, StateId
from qbdcheck.kit.crash.explorer import Exploration, Explorer, Judge
from qbdcheck.programs.blockdev import Blockdev, dashed, json_filename, node, over
from qbdcheck.programs.qemu_img import QemuImg
from qbdcheck.programs.qemu_io import QemuIo
from qbdcheck.programs.storage_daemon import StorageDaemon
from qbdcheck.targets.disk import Disk
from qbdcheck.targets.disk_io import DiskIo
from reference_backend.client import Client


class LoggedImage:
    """The log of one disk, from the contents of the disk when it is made.

    :param window: (offset, size) in bytes of the part of the volume with the image.
    :param size: size of the guest's disk in bytes, by default that of the disk; likewise
        ``image_format``.
    :ivar initial: the volume's bytes before the first logged write.
    """

    def __init__(
        self,
        disk: Disk,
        open_io: Callable[..., DiskIo],
        qemu_img: QemuImg,
        scratch: Path,
        *,
        window: tuple[int, int] | None = None,
        size: int | None = None,
        image_format: str | None = None,
    ) -> None:
        self.disk = disk
        self.format = image_format or disk.format
        self._open_io = open_io
        self._qemu_img = qemu_img
        self._scratch = scratch
        self._window = window
        number = sum(1 for _ in scratch.glob("*.writelog"))
        self.path = scratch / f"{disk.name}.{number}.writelog"
        self.path.touch()
        self.promises = Promises(disk.size if size is None else size, disk.shadow.identity)
        self.initial = self._read_volume()
        self._io: QemuIo | None = None
        self._data = scratch / f"{disk.name}.{number}.logged-data"

    def _volume(self) -> Blockdev:
        volume = self.disk.protocol_blockdev(discard="unmap")
        if self._window is None:
            return volume
        offset, size = self._window
        return node("raw", None, offset=offset, size=size, file=volume, discard="unmap")

    def _read_volume(self) -> bytes:
        copy = self._scratch / "volume.copy"
        source = json_filename(over("raw", self._volume(), None))
        self._qemu_img("dd", "-U", "-O", "raw", "bs=1M", f"if={source}", f"of={copy}")
        data = copy.read_bytes()
        copy.unlink()
        return data

    # What QEMU opens -----------------------------------------------------------------------------

    def logging_node(self, node_name: str | None = None) -> Blockdev:
        """Return blklogwrites over the volume; it continues an existing log."""
        begun = self.path.stat().st_size > 0
        logging = node(
            "blklogwrites",
            node_name,
            file=self._volume(),
            log={"driver": "file", "filename": str(self.path)},
            discard="unmap",
            log_super_update_interval=1,
        )
        # A continued log has its sector size in it.
        return logging | ({"log-append": True} if begun else {"log-sector-size": 512})

    def blockdev(self, node_name: str | None = None, **options: object) -> Blockdev:
        """Return the disk's format over the logging node."""
        over_log = over(self.format, self.logging_node(), node_name, discard="unmap")
        return over_log | dashed(options)

    @property
    def position(self) -> int:
        """Number of log entries."""
        return entries_in(self.path)

    # The guest's requests ------------------------------------------------------------------------

    @contextmanager
    def opened(self, **options: object) -> Iterator[QemuIo]:
        """Open the image in a qemu-io (mode writeback); closing flushes.

        :param options: options of the format node.
        """
        io = self._open_io(json_filename(self.blockdev(None, **options)), "writeback")
        with self.through(io):
            yield io

    @contextmanager
    def through(self, io: QemuIo) -> Iterator[QemuIo]:
        """Send the guest's requests through a qemu-io that has the image open, then close it."""
        self._io = io
        try:
            yield io
            begun = self.position
            io.close()
            self.promises.flush(begun, self.position)
        finally:
            self._io = None

    def _request(self, command: str) -> tuple[int, int]:
        assert self._io is not None, "the image is not open"
        begun = self.position
        self._io.request(command)
        return begun, self.position

    def write(self, offset: int, length: int, fua: bool = False) -> None:
        """Write stamped data."""
        data = self.promises.stamped(offset, length)
        self._data.write_bytes(data)
        flag = " -f" if fua else ""
        begun, answered = self._request(f"write{flag} -s {self._data.name} {offset} {length}")
        self.promises.write(offset, data, begun, answered)
        if fua:  # QEMU's format drivers flush
            self.promises.flush(begun, answered)

    def zero(self, offset: int, length: int, unmap: bool = False) -> None:
        """Write zeroes."""
        moments = self._request(f"write -z{'u' * unmap} {offset} {length}")
        self.promises.zero(offset, length, *moments)

    def discard(self, offset: int, length: int) -> None:
        """Discard."""
        self.promises.discard(offset, length, *self._request(f"discard {offset} {length}"))

    def flush(self) -> None:
        """Flush."""
        assert self._io is not None, "the image is not open"
        begun = self.position
        self._io.flush()
        self.promises.flush(begun, self.position)

    def qemu_img(self, command: str, *arguments: str, after: Sequence[str] = ()) -> None:
        """Run a qemu-img command on the image, with its writes logged; it flushes at its end."""
        begun = self.position
        self._qemu_img(command, *arguments, json_filename(self.blockdev()), *after)
        self.promises.flush(begun, self.position)

    def resize(self, size: int) -> None:
        """Grow the image to a size in bytes, by qemu-img."""
        begun = self.position
        self._qemu_img("resize", "-q", json_filename(self.blockdev()), str(size))
        self.promises.resize(size, begun, self.position)

    @contextmanager
    def served(
        self, open_daemon: Callable[[], StorageDaemon], connect: Callable[[str], Client]
    ) -> Iterator[Client]:
        """Serve the logging node over NBD, for an application that is to crash.

        :param open_daemon: the fixture ``storage_daemon``. :param connect: the fixture ``nbd``.
        """
        with open_daemon() as daemon:
            daemon.add(self.logging_node("logged"))
            with connect(daemon.export("logged")) as client:
                yield client

    # After the crash -----------------------------------------------------------------------------

    def log(self) -> list[Entry]:
        """Return the present log."""
        return read_log(self.path)

    def explore(
        self,
        make_judge: Callable[[Path], Judge],
        seed: int,
        *,
        log: Sequence[Entry] | None = None,
        acknowledged: Sequence[int] | None = None,
        bounds: Bounds | None = None,
        tear: int = 512,
        **limits: float,
    ) -> Exploration:
        """Judge the crash states.

        :param log: another log in place of the written one.
        :param acknowledged: moments of promises; by default those of the guest's requests.
        :param limits: options of `Explorer`: jobs, within_s, most.
        """
        entries = self.log() if log is None else log
        # A volume in a file may have grown with the image.
        size = max((entry.offset + entry.length for entry in entries), default=0)
        image = memoryview(bytearray(self.initial.ljust(size, b"\0")))
        moments = self.promises.acknowledged if acknowledged is None else acknowledged
        states = CrashStates(entries, image, moments, tear)
        result = Explorer(
            states,
            image,
            len(entries),
            make_judge,
            self._scratch,
            bounds or Bounds(),
            seed=int(seed),
            **limits,  # type: ignore[arg-type]
        ).run()
        if result.wrong:
            self._keep(entries, states, result.wrong[0].state, tear)
        return result

    def _keep(self, entries: Sequence[Entry], states: CrashStates, state: str, tear: int) -> None:
        """Save the log, a script that makes the first wrong state again, and its picture."""
        repro = self._scratch / "repro"
        repro.mkdir(exist_ok=True)
        drawn = picture(states, StateId.parse(state))
        (repro / "crash-state.svg").write_text(drawn, encoding="utf-8")
        write_log(repro / "writes.log", entries)
        (repro / "before.img").write_bytes(self.initial)
        (repro / "run").write_text(
            "# Run it in the directory of qbdcheck; it makes the volume as the crash left it.\n"
            'here=$(dirname "$(realpath "$0")")\n'
            f'python -m oracles.crash_states make "$here/writes.log" --before "$here/before.img"'
            f' --tear {tear} --state {state} --out "$here/state.img"\n',
            encoding="utf-8",
        )
