"""The patch for libvirt's source tree. QBDCHECK_LIBVIRT_SOURCE names one; nothing is fetched."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from qbdcheck.files import ROOT
from qbdcheck.kit.libvirt.schema import WITH_QBD

MAKE_PATCH = ROOT / "contrib/libvirt-qbd/make-patch"
SOURCE = os.environ.get("QBDCHECK_LIBVIRT_SOURCE", "")


def make_patch(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(MAKE_PATCH), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "usage: make-patch SOURCE > qbd.patch"),
        (["/nowhere"], "make-patch: there is no /nowhere/src/conf/schemas/domaincommon.rng; is"),
    ],
)
def test_wrong_arguments_are_one_line(arguments: list[str], message: str) -> None:
    done = make_patch(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1


def test_a_tree_that_is_too_different_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "src/conf/schemas/domaincommon.rng"
    path.parent.mkdir(parents=True)
    path.write_text("<grammar/>\n")
    done = make_patch(str(tmp_path))
    assert done.returncode == 1
    assert "in this version of libvirt" in done.stderr


@pytest.mark.skipif(not SOURCE, reason="QBDCHECK_LIBVIRT_SOURCE names no source tree of libvirt")
def test_the_patch_applies_and_has_the_definition_of_our_schema(tmp_path: Path) -> None:
    done = make_patch(SOURCE)
    assert done.returncode == 0, done.stderr
    for name in re.findall(r"^\+\+\+ b/(.*)$", done.stdout, re.MULTILINE):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(SOURCE) / name, tmp_path / name)
    patch = ["patch", "-s", "-d", str(tmp_path), "-p1"]
    subprocess.run(patch, input=done.stdout, text=True, check=True)
    patched = (tmp_path / "src/conf/schemas/domaincommon.rng").read_text()
    definition = re.search(
        r' *<define name="diskSourceNetworkProtocolQbd">.*?</define>\n',
        WITH_QBD.read_text(),
        re.DOTALL,
    )
    assert definition is not None
    assert definition[0] in patched
