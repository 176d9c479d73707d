"""Templates of saved guests: one for each QEMU, and none removes another that is in use."""

import os
from pathlib import Path

import pytest

from qbdcheck.clock import wall_s
from qbdcheck.guest import template as templates
from qbdcheck.guest.image import GuestImage
from qbdcheck.guest.template import template
from qbdcheck.programs.installed import Programs


class OneQemu(Programs):
    """Programs of which QEMU is a file."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        file.touch()
        self._file = file

    def path(self, name: str) -> str | None:
        return str(self._file)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    found: list[Path] = []

    def make(_programs: Programs, _image: GuestImage, directory: Path, _accelerator: str) -> None:
        directory.mkdir(exist_ok=True)
        (directory / "facts").write_text('{"boot_s": 3.0, "start_s": 1.0}')
        (directory / "ram").touch()
        (directory / "state").touch()
        found.append(directory)

    monkeypatch.setattr(templates, "_make", make)
    return found


def test_templates_of_two_qemus_stay(made: list[Path], tmp_path: Path) -> None:
    image = GuestImage(tmp_path / "k", tmp_path / "i", tmp_path / "t", "key")
    one, two = (OneQemu(tmp_path / name) for name in ("qemu-a", "qemu-b"))
    for programs in (one, two, one, two):
        assert template(programs, image, tmp_path).boot_s == 3.0
    assert len(made) == 2
    assert len({template(one, image, tmp_path, kind).directory for kind in ("tcg", "kvm")}) == 2
    assert all(directory.exists() for directory in made)


def test_a_template_that_is_damaged_is_made_again(made: list[Path], tmp_path: Path) -> None:
    image = GuestImage(tmp_path / "k", tmp_path / "i", tmp_path / "t", "key")
    programs = OneQemu(tmp_path / "qemu-a")
    (template(programs, image, tmp_path).directory / "state").unlink()
    assert (template(programs, image, tmp_path).directory / "state").exists()
    assert len(made) == 2


def test_only_old_templates_and_remains_are_removed(made: list[Path], tmp_path: Path) -> None:
    image = GuestImage(tmp_path / "k", tmp_path / "i", tmp_path / "t", "key")
    old = template(OneQemu(tmp_path / "qemu-a"), image, tmp_path).directory
    (tmp_path / "template-rest.new").mkdir()
    week_ago = wall_s() - 8 * 86400
    os.utime(old, (week_ago, week_ago))
    new = template(OneQemu(tmp_path / "qemu-b"), image, tmp_path).directory
    assert sorted(tmp_path.glob("template-*")) == [new]
