"""The qbd driver: its mutants apply, its patch for QEMU applies, it compiles, and it parses names.

What needs a compiler, the headers (make -C contrib/qbd-driver) or the built driver is not run
without them.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from qbdcheck.files import ROOT
from qbdcheck.targets.description import load
from reference_backend.driver import QbdDriver
from tools.driver_mutants import DriverMutant, mutants

DRIVER = ROOT / "contrib/qbd-driver"
BUILD = DRIVER / "build"
HEADERS = BUILD / "headers/config-host.h"
NEEDS_CC = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")
NEEDS_PATCH = pytest.mark.skipif(shutil.which("patch") is None, reason="no program patch here")
NEEDS_HEADERS = pytest.mark.skipif(
    shutil.which("cc") is None or shutil.which("pkg-config") is None or not HEADERS.exists(),
    reason="the headers are not here; run: make -C contrib/qbd-driver",
)
NEEDS_DRIVER = pytest.mark.skipif(
    not (BUILD / "qbd.so").exists() or shutil.which("qemu-img") is None,
    reason="the driver is not built; run: make -C contrib/qbd-driver",
)


def run(*argv: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(argument) for argument in argv],
        capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, **environment},
    )  # fmt: skip


# Section: mutants


@NEEDS_PATCH
@pytest.mark.parametrize("mutant", [one.name for one in mutants()])
def test_a_mutant_applies_to_the_driver_without_fuzz(mutant: str, tmp_path: Path) -> None:
    patch = DRIVER / f"mutants/{mutant}.patch"
    done = run("patch", "--fuzz=0", "-o", tmp_path / "mutant.c", DRIVER / "qbd.c", patch)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "mutant.c").read_text() != (DRIVER / "qbd.c").read_text()


def test_each_mutant_names_cases_that_exist_and_is_in_the_document() -> None:
    document = (ROOT / "docs/driver-author.md").read_text()
    numbers = {int(path.name[:3]) for path in (ROOT / "suites").glob("*/[0-9]*_*.py")}
    for one in mutants():
        assert {int(case) for case in one.cases} <= numbers, one
        row = re.search(rf"^\| `{one.name}` \|.*\| (\d+) \|$", document, re.MULTILINE)
        assert row is not None, f"{one.name} is not in docs/driver-author.md"
        assert row[1] in one.cases
    assert len(mutants()) >= 12


def test_a_patch_without_its_head_is_refused(tmp_path: Path) -> None:
    patch = tmp_path / "broken.patch"
    patch.write_text("Breaks: something.\n\n--- a/qbd.c\n+++ b/qbd.c\n")
    with pytest.raises(ValueError, match=r"^broken.patch: no line Cases, Damage$"):
        DriverMutant.read(patch)


# Section: the patch for QEMU's source tree


def source_tree(directory: Path) -> Path:
    """Return a directory with the places in QEMU's source that the patch changes."""
    (directory / "block").mkdir()
    (directory / "qapi").mkdir()
    (directory / "VERSION").write_text("7.2.22\n")
    (directory / "block/meson.build").write_text("files(\n  'preallocate.c',\n)\n")
    (directory / "qapi/pragma.json").write_text(
        "{ 'pragma': {\n    'member-name-exceptions': [     # visible in:\n        'A' ] } }\n"
    )
    (directory / "qapi/block-core.json").write_text(
        "            'raw', 'rbd',\n##\n# @BlockdevOptionsReplication:\n##\n"
        "      'rbd':        'BlockdevOptionsRbd',\n"
    )
    return directory


@NEEDS_PATCH
def test_the_patch_has_the_driver_and_its_options(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    tree = source_tree(tmp_path / "tree")
    made = run(DRIVER / "make-patch", tree)
    assert made.returncode == 0, made.stderr
    patch = tmp_path / "qbd.patch"
    patch.write_text(made.stdout)
    done = run("patch", "--fuzz=0", "-d", tree, "-p1", "-i", patch)
    assert done.returncode == 0, done.stdout
    assert (tree / "block/qbd.c").read_text() == (DRIVER / "qbd.c").read_text()
    schema = (tree / "qapi/block-core.json").read_text()
    assert "'qbd', 'raw', 'rbd'," in schema
    assert "# Since: 7.2\n" in schema
    assert schema.index("'struct': 'BlockdevOptionsQbd'") < schema.index("Replication:")


def test_a_tree_that_is_not_qemu_is_refused(tmp_path: Path) -> None:
    done = run(DRIVER / "make-patch", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"make-patch: {tmp_path}/VERSION: ")


def test_a_tree_without_a_place_is_named(tmp_path: Path) -> None:
    tree = source_tree(tmp_path)
    (tree / "block/meson.build").write_text("files()\n")
    done = run(DRIVER / "make-patch", tree)
    assert done.returncode == 1
    assert done.stderr.startswith(f"make-patch: {tree}/block/meson.build has no place for: ")


# Section: what is built


@NEEDS_CC
def test_the_preload_stub_leaves_other_programs_alone(tmp_path: Path) -> None:
    stub = tmp_path / "preload.so"
    flags = ("-Wall", "-Werror", "-fPIC", "-shared")
    done = run("cc", *flags, "-o", stub, DRIVER / "preload.c", "-ldl")
    assert done.returncode == 0, done.stderr
    done = run("/bin/echo", "alive", LD_PRELOAD=str(stub), QBD_DRIVER="/nonexistent.so")
    assert (done.returncode, done.stdout, done.stderr) == (0, "alive\n", "")


@NEEDS_HEADERS
def test_the_driver_compiles_without_a_warning() -> None:
    done = run("make", "-s", "-C", DRIVER, "-W", "qbd.c", "build/qbd.o", "CFLAGS=-O1 -Werror")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@NEEDS_DRIVER
def test_the_file_of_the_document_is_built_as_a_driver_with_a_profile(tmp_path: Path) -> None:
    document = (ROOT / "docs/driver-author.md").read_text()
    (file,) = re.findall(r"^```c\n(.*?)^```$", document, re.MULTILINE | re.DOTALL)
    driver = tmp_path / "mynbd.c"
    driver.write_text(file)
    done = run("make", "-s", "-C", DRIVER, f"DRIVER={driver}", "CFLAGS=-O1 -Werror")
    assert (done.returncode, done.stderr) == (0, "")
    options = "driver=mynbd,pool=a,image=b,conf=c"
    info = (tmp_path / "build/bin/qemu-img", "info", "--image-opts")
    assert "mynbd connects to nothing yet" in run(*info, options).stderr
    profile = load(tmp_path / "build/mynbd.yaml")
    assert (profile.name, profile.blockdev["driver"]) == ("mynbd", "mynbd")
    assert profile.filename is not None
    assert profile.filename.startswith("mynbd:check/")
    assert profile.program_paths["qemu-img"] == str(info[0])


@NEEDS_DRIVER
def test_a_file_that_is_not_there_is_named() -> None:
    done = run("make", "-s", "-C", DRIVER, "DRIVER=mynbd.c")
    assert done.returncode == 2
    assert "DRIVER=mynbd.c: no such file; give an absolute path" in done.stderr


@NEEDS_DRIVER
@pytest.mark.parametrize(
    "name",
    ["qbd:", "qbd:vol", "qbd:/vol", "qbd:pool/", "qbd:pool/vol@", "qbd:pool/vol:conf"],
)
def test_the_driver_refuses_names_as_the_contract_does(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r".") as expected:
        QbdDriver.parse_filename(name)
    conf = tmp_path / "qbd.conf"
    done = run(BUILD / "bin/qemu-img", "info", "-f", "raw", name, QBD_CONF=str(conf))
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith(f": {expected.value}")


@NEEDS_DRIVER
def test_a_missing_configuration_is_named(tmp_path: Path) -> None:
    conf = tmp_path / "qbd.conf"
    info = (BUILD / "bin/qemu-img", "info", "-f", "raw", "qbd:pool/volume")
    done = run(*info, QBD_CONF=str(conf))
    assert f"Cannot read {conf}: " in done.stderr
    conf.write_text("[qbd]\ncontrol=/nowhere\n")
    done = run(*info, QBD_CONF=str(conf))
    assert f"{conf} has no key 'socket' in the group 'qbd'" in done.stderr


@NEEDS_DRIVER
def test_a_mutant_that_is_not_built_is_named() -> None:
    done = run(BUILD / "bin/qemu-img", "--version", QBD_MUTANT="no-such-mutant")
    assert done.returncode == 127
    assert "run: make -C contrib/qbd-driver mutants" in done.stderr


@NEEDS_DRIVER
def test_a_backend_that_comes_back_without_the_volume_is_an_error(tmp_path: Path) -> None:
    conf = tmp_path / "qbd.conf"
    conf.write_text(f"[qbd]\nsocket={tmp_path}/s\ncontrol={tmp_path}/c\nreconnect=1\n")
    with serving(tmp_path, "pool/volume"):
        io = subprocess.Popen(
            [str(BUILD / "bin/qemu-io"), "-f", "raw", "qbd:pool/volume"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, "QBD_CONF": str(conf)},
        )  # fmt: skip
        assert io.stdin is not None
        assert io.stdout is not None
        io.stdin.write("write -P 1 0 4k\n")
        io.stdin.flush()
        assert "wrote 4096/4096" in io.stdout.readline()
    with serving(tmp_path, "pool/other"):
        output, _ = io.communicate("read 0 4k\nread 0 4k\n", timeout=30)
    assert output.count("read failed: Input/output error") == 2
    assert "read 4096/4096" not in output


@contextlib.contextmanager
def serving(directory: Path, name: str) -> Iterator[None]:
    """Run the reference backend with one volume."""
    server = subprocess.Popen(
        [sys.executable, "-m", "reference_backend", "serve", "--memory", "1M",
         "--export-name", name, "--socket", str(directory / "s"),
         "--control", str(directory / "c")],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        assert server.stdout.readline().startswith("ready")
        yield
    finally:
        server.kill()
        server.communicate()
        for socket in ("s", "c"):
            (directory / socket).unlink(missing_ok=True)
