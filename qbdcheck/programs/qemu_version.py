"""The version of QEMU, and the versions that this release was verified with.

Cases and golden files depend on capabilities first. They use the version only where QEMU itself
gives no other sign, such as the text of an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from qbdcheck.errors import SetupError
from qbdcheck.programs.installed import Programs
from qbdcheck.programs.process import run

Version = tuple[int, int]
"""Major and minor number. Distributions backport fixes, so the third number says little."""

VERIFIED_QEMU: Mapping[str, str] = {
    "7.2": "Debian 12",
    "10.0": "Debian 13",
    "11.1": "Debian 13 with backports",
}
"""The versions of QEMU that this release was verified with, and the system of each."""

_NUMBER = re.compile(r"\bversion (\d+)\.(\d+)")


def parse_version(text: str) -> Version:
    """Return the version that ``qemu-img --version`` prints in `text`.

    :raise SetupError: there is none.
    """
    found = _NUMBER.search(text)
    if found is None:
        raise SetupError(f"qemu-img --version prints no version: {text.strip() or 'nothing'!r}")
    return int(found[1]), int(found[2])


def qemu_version(programs: Programs) -> Version:
    """Return the version of the target's qemu-img.

    :raise SetupError: qemu-img is not installed or prints no version.
    :raise ProgramError: qemu-img fails.
    """
    path = programs.path("qemu-img")
    if path is None:
        raise SetupError(programs.missing("qemu-img"))
    return parse_version(run([path, "--version"]).stdout)


def is_verified(version: str) -> bool:
    """Return whether this release was verified with the QEMU `version`, such as ``7.2.22``."""
    return ".".join(version.split(".")[:2]) in VERIFIED_QEMU
