"""The making of the guest: the same from the same packages."""

import json
from pathlib import Path

import pytest

from qbdcheck.errors import ProgramError
from qbdcheck.guest import image as images
from qbdcheck.guest.image import CLOUD_KERNEL, FULL_KERNEL, GuestImage, guest_image, make_ext4
from qbdcheck.programs.process import run


def test_an_ext4_is_the_same_from_the_same_files(tmp_path: Path) -> None:
    made = []
    for name, order in (("a", (1, 2, 3)), ("b", (3, 1, 2))):
        work = tmp_path / name
        work.mkdir()
        sources = {}
        for number in order:  # other inodes, times and orders of the host
            file = work / f"file{number}"
            file.write_bytes(bytes([number]) * 5000 * number)
            file.chmod(0o755)
            sources[Path(f"lib/deep/file{number}")] = file
        make_ext4(sources, work, work / "image")
        made.append((work / "image").read_bytes())
    assert made[0] == made[1]
    run(["e2fsck", "-fn", tmp_path / "a/image"])
    told = run(["debugfs", "-R", "stat /lib/deep/file2", tmp_path / "a/image"]).stdout
    assert "Mode:  0755" in told
    assert "Size: 10000" in told
    odd = tmp_path / 'a"b'  # which debugfs cannot be told
    odd.write_bytes(b"odd")
    with pytest.raises(ProgramError, match="debugfs: "):
        make_ext4({Path("bin/x"): odd}, tmp_path, tmp_path / "image")


def test_two_recipes_have_an_image_each(
    image: GuestImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "guest"
    place.mkdir()
    (place / image.key).symlink_to(image.kernel.parent)
    mine = place / f"current.{images._recipe(CLOUD_KERNEL)}"
    recipe, lists = images._recipe(CLOUD_KERNEL), images._lists_changed()
    told = {"recipe": recipe, "lists": lists, "key": image.key}
    mine.write_text(json.dumps(told), encoding="utf-8")
    assert guest_image(tmp_path).key == image.key
    assert images._made(place, FULL_KERNEL) is None
    monkeypatch.setattr(images, "_VERSION", -1)
    assert images._made(place, CLOUD_KERNEL) is None, "another recipe took the image for its own"
    monkeypatch.undo()
    monkeypatch.setattr(images, "_lists_changed", lambda: 1)
    assert images._made(place, CLOUD_KERNEL) is None, "after apt-get update nothing was looked at"
