"""libvirt's schemas, read where its package has installed them, and the one with qbd in it."""

from __future__ import annotations

import shutil
from pathlib import Path
from xml.etree import ElementTree as ET

from qbdcheck.errors import NotRun
from qbdcheck.files import COMMAND, ROOT
from qbdcheck.programs.process import run

INSTALLED = Path("/usr/share/libvirt/schemas/domain.rng")
"""The schema of domains in the package libvirt0 of Debian."""
WITH_QBD = ROOT / "docs" / "libvirt" / "domain-with-qbd.rng"
"""The same schema with network disks of the protocol qbd (docs/libvirt.md)."""


def violations(document: Path, schema: Path = INSTALLED) -> list[str]:
    """Validate a file against a schema with xmllint; return what it reports, [] for a valid file.

    :raise NotRun: there is no xmllint, or libvirt has installed no schemas here.
    """
    if shutil.which("xmllint") is None:
        fix = f"run: {COMMAND} --install --with libvirt"
        raise NotRun(f"libvirt is not installed: there is no xmllint; {fix}")
    if not INSTALLED.exists():
        raise NotRun(f"libvirt is not installed: its schemas are not in {INSTALLED.parent}")
    done = run(["xmllint", "--noout", "--relaxng", schema, document], check=False)
    if done.returncode == 0:
        return []
    lines = (line.strip() for line in done.stderr.splitlines())
    return [line.removeprefix(f"{document}:") for line in lines if line]


def source_in(document: Path) -> str:
    """Return the source of the first disk in a file with a domain, in canonical XML."""
    source = ET.parse(document).find("./devices/disk/source")  # noqa: S314  # our own, or libvirt's
    assert source is not None, f"{document} has no disk with a source"
    return ET.canonicalize(ET.tostring(source, encoding="unicode"), strip_text=True)
