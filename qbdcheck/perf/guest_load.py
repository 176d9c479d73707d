"""Load in a guest: fio with libaio on the target's disk, as in the talk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qbdcheck.errors import CaseBroken, SetupError
from qbdcheck.guest.fio_result import FioOutputError, FioResult
from qbdcheck.guest.fio_run import Fio
from qbdcheck.kit.guests import Guests
from qbdcheck.perf import noise
from qbdcheck.perf.host_load import fio_arguments, sample_of_fio
from qbdcheck.perf.sample import Sample
from qbdcheck.perf.shapes import Shape
from qbdcheck.programs.cpu_time import Meter
from qbdcheck.targets.session import TargetSession

_FILL_S = 300.0
_GRACE_S = 120.0


class GuestLoad:
    """A guest with a filled disk of the target; it runs only while it is measured.

    :param keep: a directory for fio's output.
    :raise NotRun: no guest can be made here.
    :raise GuestFailed: the guest does not start.
    """

    def __init__(self, session: TargetSession, scratch: Path, size: int, keep: Path) -> None:
        self._session = session
        self._size = size
        self._disk = session.new_disk(size, prefill=False, zero=False)
        self._guests = Guests(session, scratch)
        self._guest = self._guests(self._disk.blockdev(discard="unmap"))
        self._fio = Fio(self._guest, keep)
        self._path = self._guest.disks[0].path
        self._run(Shape("fio", "write", 1 << 20, 4), 0.0, _FILL_S)
        self._guest.machine.execute("stop")

    def measure(self, shape: Shape, seconds: float) -> Sample:
        """Run fio for some seconds of a shape. The client's CPU time is that of QEMU.

        :raise SetupError: fio fails.
        """
        self._guest.machine.execute("cont")
        unit_s = noise.unit_s()
        server: tuple[int, ...]
        try:
            server = (self._disk.backend.pid,)
        except CaseBroken:
            server = ()
        meter = Meter(server, (self._guest.machine.pid,))
        result = self._run(shape, seconds, seconds + _GRACE_S)
        used = meter.read()
        self._guest.machine.execute("stop")
        unit_s = min(unit_s, noise.unit_s())
        return sample_of_fio(result, used, unit_s, client_s=used.client_s)

    def _run(self, shape: Shape, seconds: float, within_s: float) -> FioResult:
        arguments = ["--ioengine=libaio", "--direct=1", f"--filename={self._path}"]
        arguments += fio_arguments(shape, self._size, seconds)
        try:
            return self._fio(*arguments, within_s=within_s).must_be_clean()
        except FioOutputError as error:
            raise SetupError(f"fio in the guest: {error}") from None

    def close(self, observed: Callable[[str], None]) -> None:
        """End the guest. ``observed`` gets the lines of --observe."""
        self._guest.machine.execute("cont")
        self._guests.close()
        for line in self._guests.observed:
            observed(line)
        self._session.close()
