"""The installed programs, their versions, and whether these are new enough."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from qbdcheck.bootstrap.system_packages import PROGRAMS
from qbdcheck.errors import QbdcheckError
from qbdcheck.programs.installed import Programs
from qbdcheck.programs.process import run, tail

_NUMBER = re.compile(r"(?<![\w.])v?(\d+(?:\.\d+)+)")
_FLAG: Mapping[str, str] = {"mkfs.ext4": "-V", "ip": "-V"}
"""Arguments that print the version of a program, if they are not --version."""


@dataclass(frozen=True)
class Installed:
    """A program: its path, version, and what is wrong with it ("" for nothing)."""

    name: str
    path: str | None
    version: str
    fault: str

    @property
    def is_usable(self) -> bool:
        """Whether cases can use the program."""
        return not self.fault


def inspect_program(name: str) -> Installed:
    """Check whether one program of PROGRAMS is installed, starts, and is new enough."""
    path = Programs().path(name)
    if path is None:
        return Installed(name, None, "", "missing")
    try:
        done = run([path, _FLAG.get(name, "--version")], timeout_s=5, check=False)
    except QbdcheckError as error:
        return Installed(name, path, "", str(error))
    # fio glues its name to the number: fio-3.33
    found = _NUMBER.search(f"{done.stdout}\n{done.stderr}".replace("fio-", ""))
    if done.returncode != 0 or found is None:
        return Installed(name, path, "", f"does not start: {tail(done.stderr, 1)}")
    version, minimum = found[1], PROGRAMS[name].minimum
    if is_older(version, minimum):
        return Installed(name, path, version, f"too old: {version}, needed is {minimum} or newer")
    return Installed(name, path, version, "")


def is_older(version: str, minimum: str) -> bool:
    """Return whether `version` is lower than `minimum`, as dotted numbers; "" is no minimum."""
    return _numbers(version) < _numbers(minimum)


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part]
