"""The version of QEMU, as qemu-img prints it."""

from __future__ import annotations

from pathlib import Path

import pytest

from qbdcheck.errors import SetupError
from qbdcheck.programs.installed import Programs
from qbdcheck.programs.qemu_version import is_verified, parse_version, qemu_version


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("qemu-img version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\nCopyright (c)", (7, 2)),
        ("qemu-img version 10.0.13 (Debian 1:10.0.13+ds-0+deb13u1)", (10, 0)),
        ("qemu-img version 8.2.2 (Debian 1:8.2.2+ds-0ubuntu1.4)", (8, 2)),
        ("qemu-img version 6.2.0 (qemu-kvm-6.2.0-53.module+el8)", (6, 2)),
        ("qemu-img version 10.1.90 (v10.2.0-rc0)", (10, 1)),
    ],
)
def test_the_version_of_each_distribution_is_read(text: str, version: tuple[int, int]) -> None:
    assert parse_version(text) == version


def test_text_without_a_version_is_refused() -> None:
    with pytest.raises(SetupError, match="prints no version: 'usage'"):
        parse_version("usage\n")


def test_the_version_is_that_of_the_program_of_the_profile(tmp_path: Path) -> None:
    program = tmp_path / "my-qemu-img"
    program.write_text("#!/bin/sh\necho qemu-img version 11.4.0\n")
    program.chmod(0o755)
    assert qemu_version(Programs({"qemu-img": str(program)})) == (11, 4)
    with pytest.raises(SetupError, match="absent is not installed"):
        qemu_version(Programs({"qemu-img": str(tmp_path / "absent")}))


def test_verified_versions_are_compared_by_major_and_minor_number() -> None:
    assert is_verified("7.2.1")
    assert is_verified("10.0.13")
    assert not is_verified("10.1.0")
    assert not is_verified("7.20.1")
    assert not is_verified("")
