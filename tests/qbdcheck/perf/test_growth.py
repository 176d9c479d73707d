"""An exponent says O(1) or O(n), and a real server is measured along an axis."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from qbdcheck.errors import NotRun
from qbdcheck.files import ROOT
from qbdcheck.options import TargetOptions
from qbdcheck.perf import growth
from qbdcheck.perf.growth import HEAD, Growth
from qbdcheck.targets import description as descriptions
from qbdcheck.targets.session import TargetSession


def _of(exponent: float) -> Growth:
    sizes = (1, 8, 64)
    costs = tuple((10 * size**exponent, 10.1 * size**exponent) for size in sizes)
    return Growth("snapshots", "read", sizes, costs)


def test_orders_have_their_names() -> None:
    names = [_of(exponent).order for exponent in (-0.1, 0.0, 0.3, 1.0, 2.0)]
    assert names == ["O(1)", "O(1)", "O(n^0.3)", "O(n)", "O(n^2.0)"]
    assert len(HEAD) <= 80 and len(_of(0.3).line()) <= 80


def test_a_real_server_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "CLIENTS", (1, 2))
    monkeypatch.setattr(growth, "SNAPSHOTS", (1, 2))
    with tempfile.TemporaryDirectory(prefix="q") as path:
        count = 0

        def session() -> TargetSession:
            nonlocal count
            count += 1
            place = Path(path) / str(count)
            place.mkdir()
            file = ROOT / "targets" / "reference.yaml"
            return TargetSession(descriptions.load(file), TargetOptions(), place)

        found = [*growth.clients(session), *growth.snapshots(session)]
    assert [one.name for one in found] == [
        "clients, read", "clients, write", "snapshots, read", "snapshots, write",
    ]  # fmt: skip
    for one in found:
        assert one.sizes == (1, 2) and all(cost > 0 for row in one.costs for cost in row)


def test_a_target_that_reaches_one_size_only_is_not_measured() -> None:
    with pytest.raises(NotRun, match="volume"):
        list(growth._axis("volume", (1,), lambda _: {}))
