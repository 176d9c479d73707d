"""./check perf as a user runs it: figures, a baseline, a noisy machine, and mistakes."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from qbdcheck.files import ROOT
from qbdcheck.perf.histogram import Histogram
from qbdcheck.programs.process import Completed, run

pytestmark = pytest.mark.skipif(shutil.which("fio") is None, reason="fio is not installed")


def _perf(tmp_path: Path, *arguments: str) -> Completed:
    argv = [sys.executable, "-m", "qbdcheck", "perf", *arguments]
    return run(argv, check=False, cwd=ROOT, timeout_s=300, env={"XDG_CACHE_HOME": str(tmp_path)})


def test_a_target_is_measured_and_becomes_a_baseline(tmp_path: Path) -> None:
    pytest.importorskip("hdrh", reason="hdrhistogram is not installed")
    page, report, baseline = (tmp_path / name for name in ("p.html", "p.json", "b.json"))
    done = _perf(
        tmp_path, "-t", "nbdkit", "--rounds", "5", "--only", "randread:4k:qd16",
        "--accept-noise", "1000%", "--html", str(page), "--json", str(report),
        "--baseline", str(baseline), "--update-baseline",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("noise: other programs use ")
    assert all(len(line) <= 80 for line in done.stdout.splitlines() if ":qd" in line)
    (shape,) = json.loads(report.read_text())["shapes"]
    assert shape["shape"] == "fio:randread:4k:qd16:x1" and shape["rounds"] == 5
    assert Histogram.decode(shape["histogram"]).total == shape["requests"] > 1000
    low, value, high = (shape["medians"]["server CPU"][key] for key in ("low", "value", "high"))
    assert 0 < low <= value <= high
    text = page.read_text().partition("<body>")[2].partition("</body>")[0]
    ET.fromstring(f"<body>{text}</body>")
    other = _perf(tmp_path, "-t", "reference", "--baseline", str(baseline))
    assert other.returncode == 2 and "nothing of reference on this machine" in other.stderr


def test_a_noisy_machine_is_broken_and_not_slow(tmp_path: Path) -> None:
    pytest.importorskip("hdrh", reason="hdrhistogram is not installed")
    done = _perf(tmp_path, "-t", "nbdkit", "--accept-noise", "0.0001%")
    assert done.returncode == 1
    assert "BROKEN  the machine is too noisy: " in done.stdout and "IOPS" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "17k"], "--only 17k: no such shape; shapes are like fio:randwrite:4k:qd1:x1"),
        (["growth", "-t", "file"], "perf growth needs a target with start: and nbd:"),
        (["faults", "-t", "file"], "perf faults needs a target with nbd:"),
        (["--vs", "nbdkitt"], "unknown target 'nbdkitt'; did you mean"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    pytest.importorskip("hdrh", reason="hdrhistogram is not installed")
    done = _perf(tmp_path, *arguments)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1
