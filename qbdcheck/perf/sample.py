"""One measurement of one shape on one target."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Sample:
    """What one run of a tool showed.

    :ivar requests: that were answered. :ivar seconds: of the measured time.
    :ivar bytes_done: read and written. :ivar server_s: CPU seconds of the server, None if the
        target has no server of its own. :ivar client_s: CPU seconds of fio, qemu-img, or QEMU.
    :ivar others: share of all cores that programs used which do not belong to the measurement.
    :ivar unit_s: CPU seconds of the unit of work (`noise.unit_s`) around the sample.
    :ivar latencies_ns: number of requests by latency; empty if the tool reports none.
    """

    requests: int
    seconds: float
    bytes_done: int
    server_s: float | None
    client_s: float
    others: float
    unit_s: float
    latencies_ns: dict[int, int] = field(default_factory=dict)

    @property
    def iops(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds

    @property
    def bytes_per_s(self) -> float:
        """Bytes per second."""
        return self.bytes_done / self.seconds

    @property
    def server_us(self) -> float | None:
        """CPU time of the server per request, in microseconds."""
        return None if self.server_s is None else self.server_s / self.requests * 1e6

    @property
    def client_us(self) -> float:
        """CPU time of the client per request, in microseconds."""
        return self.client_s / self.requests * 1e6


@dataclass(frozen=True)
class Metric:
    """A number of a sample that is compared.

    :ivar name: in tables and baselines. :ivar unit: of the value. :ivar more_is_better: for IOPS.
    """

    name: str
    unit: str
    more_is_better: bool = False

    def of(self, sample: Sample) -> float | None:
        """Return the value in a sample; None if it has none."""
        values = {
            "IOPS": sample.iops, "server CPU": sample.server_us, "client CPU": sample.client_us,
        }  # fmt: skip
        value = values[self.name]
        return value if value else None


IOPS = Metric("IOPS", "/s", more_is_better=True)
SERVER = Metric("server CPU", "us")
CLIENT = Metric("client CPU", "us")
METRICS = (IOPS, SERVER, CLIENT)
"""What is compared. CPU time is per request. It varies less than IOPS on a busy machine."""
