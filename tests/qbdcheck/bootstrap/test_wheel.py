"""The wheel: built from the sdist, installed, and used from another directory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from qbdcheck.bootstrap.version import version
from qbdcheck.catalogue.catalogue import CASE_FILE
from qbdcheck.files import ROOT


def run(*argv: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program from `cwd`, without the variables by which Python finds this checkout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        list(map(str, argv)), cwd=cwd, env=kept | environment, capture_output=True, text=True,
        timeout=170, check=False,
    )  # fmt: skip


def succeed(*argv: str | Path, cwd: Path, **environment: str) -> str:
    """Run a program that must succeed; return its output."""
    done = run(*argv, cwd=cwd, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel that was built from the sdist of this checkout."""
    directory = tmp_path_factory.mktemp("wheel")
    build: list[str | Path] = [sys.executable, "-m", "hatchling", "build", "-d", directory]
    succeed(*build, "-t", "sdist", cwd=ROOT)
    (sdist,) = directory.glob("qbdcheck-*.tar.gz")
    with tarfile.open(sdist) as archive:
        if hasattr(tarfile, "data_filter"):  # Python 3.11.2 of Debian 12 has none
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(directory)
    succeed(*build, "-t", "wheel", cwd=directory / sdist.name.removesuffix(".tar.gz"))
    (wheel,) = directory.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def bin_dir(wheel: Path) -> Path:
    """The commands of an environment with the wheel, and with this interpreter's packages."""
    environment = wheel.parent / "environment"
    succeed(sys.executable, "-m", "venv", "--without-pip", environment, cwd=wheel.parent)
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", environment / "bin/python"]
    succeed(*pip, "install", "-q", "--no-deps", "--no-index", wheel, cwd=wheel.parent)
    (site_packages,) = environment.glob("lib/python3.*/site-packages")
    (site_packages / "packages.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return environment / "bin"


def test_only_the_package_is_at_the_top_of_the_wheel(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.partition("/")[0] for name in names}
    assert {one for one in top if not one.endswith(".dist-info")} == {"qbdcheck"}
    cases = [one for one in names if CASE_FILE.match(Path(one).name) and "/suites/" in one]
    assert len(cases) == sum(
        CASE_FILE.match(path.name) is not None for path in (ROOT / "suites").rglob("*.py")
    )
    for needed in ("report/page.css", "report/run.html.j2", "_bundled/docs/findings.md"):
        assert f"qbdcheck/{needed}" in names


def test_the_version_is_that_of_the_checkout(bin_dir: Path, tmp_path: Path) -> None:
    assert succeed(bin_dir / "qbdcheck", "--version", cwd=tmp_path) == f"qbdcheck {version()}\n"


def test_cases_run_from_another_directory(bin_dir: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    arguments: list[str | Path] = ["--json", report, "--html", tmp_path / "page.html", "1-3"]
    succeed(bin_dir / "qbdcheck", *arguments, cwd=tmp_path, XDG_CACHE_HOME=str(tmp_path / "cache"))
    cases = json.loads(report.read_text())["cases"]
    assert [case["verdict"] for case in cases] == ["pass"] * 3
    assert all("_bundled/suites/" in case["path"] for case in cases)


def test_a_failure_names_the_installed_command(bin_dir: Path, tmp_path: Path) -> None:
    target = ["-t", "mutant:short-read-resume-offset"]
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = run(bin_dir / "qbdcheck", *target, "1", cwd=tmp_path, **cache)
    assert done.returncode == 1
    assert "misdirected" in done.stdout
    assert "qbdcheck -t mutant:short-read-resume-offset" in done.stdout
    assert "./check" not in done.stdout


def test_the_backend_is_a_command_too(bin_dir: Path, tmp_path: Path) -> None:
    backend = bin_dir / "qbd-backend"
    assert succeed(backend, "--help", cwd=tmp_path).startswith("usage: qbd-backend [-h] COMMAND")
    succeed(backend, "create", "--pool", tmp_path / "pool", "disk", "1M", cwd=tmp_path)
    assert "disk" in succeed(backend, "list", "--pool", tmp_path / "pool", cwd=tmp_path)


@pytest.mark.parametrize(
    "arguments", [["new", "iotests", "a title"], ["--tests"], ["--update-golden", "1"]]
)
def test_what_writes_into_a_checkout_is_refused(
    bin_dir: Path, tmp_path: Path, arguments: list[str]
) -> None:
    done = run(bin_dir / "qbdcheck", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "checkout; git clone the project and use ./check there" in done.stderr
    assert done.stdout == ""
