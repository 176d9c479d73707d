"""`./check fio FILE` lets the fio of the machine read the options, before a guest is built."""

from __future__ import annotations

from pathlib import Path
from shutil import which

import pytest

from qbdcheck.commands.fio import _check_options
from qbdcheck.errors import UsageError
from qbdcheck.guest.fio_job_file import read_job_file

needs_fio = pytest.mark.skipif(which("fio") is None, reason="this machine has no fio")


def _checked(tmp_path: Path, text: str) -> None:
    file = tmp_path / "j.fio"
    file.write_text(text)
    _check_options(read_job_file(file, {}), tmp_path)


@needs_fio
def test_an_unknown_option_names_its_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"j\.fio, line 3: Bad option <bsss=4k>"):
        _checked(tmp_path, "[a]\nrw=write\nbsss=4k\nsize=1m\n")


@needs_fio
def test_a_good_file_is_not_refused(tmp_path: Path) -> None:
    _checked(tmp_path, "[a]\nrw=write\nbs=4k\nsize=1m\nverify=crc32c\n")


def test_a_machine_without_fio_checks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    _checked(tmp_path, "[a]\nrw=write\nbsss=4k\n")
