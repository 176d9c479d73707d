"""The schema with qbd in it, read from what libvirt has installed."""

import shutil
from pathlib import Path

import pytest

from qbdcheck.errors import NotRun
from qbdcheck.kit.libvirt.schema import INSTALLED, WITH_QBD, violations

EXAMPLE = WITH_QBD.with_name("qbd-disk.xml")
needs_schemas = pytest.mark.skipif(
    shutil.which("xmllint") is None or not INSTALLED.exists(),
    reason="libvirt is not installed; run: ./check --install --with libvirt",
)


@needs_schemas
def test_only_the_extended_schema_has_qbd() -> None:
    assert violations(EXAMPLE, WITH_QBD) == []
    assert violations(EXAMPLE) != []


@needs_schemas
def test_a_violation_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "domain.xml"
    path.write_text("<domain type='qemu'>\n<wrong/>\n</domain>\n")
    assert violations(path, WITH_QBD)[0].startswith("1: element domain")


def test_without_xmllint_it_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(NotRun, match=r"no xmllint; run: .*--with libvirt"):
        violations(EXAMPLE)
