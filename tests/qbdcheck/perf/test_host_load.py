"""Real fio and qemu-img on real targets: requests, CPU time of the right process, latencies."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qbdcheck.errors import SetupError
from qbdcheck.files import ROOT
from qbdcheck.options import TargetOptions
from qbdcheck.perf.host_load import loaded, measure
from qbdcheck.perf.shapes import BENCH, FIO, Shape
from qbdcheck.targets import description as descriptions
from qbdcheck.targets.session import TargetSession

SIZE = 4 << 20
pytestmark = pytest.mark.skipif(shutil.which("fio") is None, reason="fio is not installed")


@pytest.fixture
def session() -> Iterator[Callable[[str], TargetSession]]:
    with tempfile.TemporaryDirectory(prefix="q") as path:
        yield lambda name: TargetSession(
            descriptions.load(ROOT / "targets" / f"{name}.yaml"), TargetOptions(name), Path(path)
        )


def test_fio_over_nbd(session: Callable[[str], TargetSession]) -> None:
    with loaded(session("reference"), SIZE) as ready:
        found = measure(ready, Shape(FIO, "randread", 4096, 4, jobs=2), 0.1)
    assert found.requests > 100 and found.bytes_done == found.requests * 4096
    assert sum(found.latencies_ns.values()) == found.requests
    assert found.server_us is not None and 1 < found.server_us < 2000
    assert 0.5 < found.client_us < 2000 and 0 <= found.others <= 1
    assert found.iops == pytest.approx(found.requests / found.seconds)


def test_qemu_img_bench_and_a_target_without_nbd(
    session: Callable[[str], TargetSession],
) -> None:
    with loaded(session("file"), SIZE) as ready:
        bench = measure(ready, Shape(BENCH, "write", 4096, 4), 0.05)
        fio = measure(ready, Shape(FIO, "randwrite", 4096, 4), 0.1)
    assert bench.requests >= 100 and not bench.latencies_ns and bench.client_us > 1
    # fio reached it through a storage daemon, whose CPU time counts as that of the server
    assert fio.requests > 20 and fio.server_us is not None and fio.server_us > 1


def test_a_tool_that_fails_is_named(session: Callable[[str], TargetSession]) -> None:
    with (
        loaded(session("reference"), SIZE) as ready,
        pytest.raises(SetupError, match=r"fio .*fio:sideways:4k:qd1:x1"),
    ):
        measure(ready, Shape(FIO, "sideways", 4096, 1), 0.1)
