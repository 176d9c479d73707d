"""The making of the guest: the same from the same packages, complete or not at all."""

import fcntl
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from qbdcheck.errors import CaseBroken, NotRun, ProgramError
from qbdcheck.guest import image as images
from qbdcheck.guest.image import CLOUD_KERNEL, FULL_KERNEL, GuestImage, guest_image, make_ext4
from qbdcheck.guest.packages import PackageSet, resolve
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
    shown = run(["debugfs", "-R", "stat /lib/deep/file2", tmp_path / "a/image"]).stdout
    assert "Mode:  0755" in shown
    assert "Size: 10000" in shown
    odd = tmp_path / 'a"b'  # a name that debugfs cannot take
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
    current = {"recipe": recipe, "lists": lists, "key": image.key}
    mine.write_text(json.dumps(current), encoding="utf-8")
    assert guest_image(tmp_path).key == image.key
    assert images._cached(place, FULL_KERNEL) is None
    monkeypatch.setattr(images, "_VERSION", -1)
    assert images._cached(place, CLOUD_KERNEL) is None, "an image of another recipe was used"
    monkeypatch.undo()
    monkeypatch.setattr(images, "_lists_changed", lambda: 1)
    assert images._cached(place, CLOUD_KERNEL) is None, "apt-get update was ignored"


class Maker:
    """Replaces apt, dpkg-deb and mke2fs: records the steps, and fails once in one step."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: list[str] = []
        self.fails: dict[str, BaseException] = {}
        monkeypatch.setattr(images, "resolve", self.resolve)
        monkeypatch.setattr(images, "download", self.step("download", self.download))
        monkeypatch.setattr(images, "unpack", self.step("unpack", lambda *_: None))
        monkeypatch.setattr(images, "_make", self.step("make", self.make))

    def resolve(self, _place: Path, wanted: tuple[str, ...]) -> PackageSet:
        return PackageSet(wanted, ("a_1.deb",), 3)

    def download(self, place: Path, packages: PackageSet) -> None:
        (place / "archives").mkdir(exist_ok=True)
        (place / "archives" / packages.files[0]).touch()

    def make(self, work: Path, image: GuestImage) -> None:
        image.kernel.parent.mkdir()
        for file in (image.kernel, image.initramfs, image.tools):
            file.write_bytes(b"data")
        (image.kernel.parent / "sizes").write_text(json.dumps(images._sizes(image)))

    def step(self, name: str, do: Callable[..., None]) -> Callable[..., None]:
        def one(*arguments: object) -> None:
            self.steps.append(name)
            if name in self.fails:
                raise self.fails.pop(name)
            do(*arguments)

        return one


@pytest.fixture
def maker(monkeypatch: pytest.MonkeyPatch) -> Maker:
    return Maker(monkeypatch)


@pytest.mark.parametrize("step", ["download", "unpack", "make"])
def test_an_interrupted_run_is_resumed_by_the_next(maker: Maker, tmp_path: Path, step: str) -> None:
    maker.fails[step] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        guest_image(tmp_path)
    assert images._cached(tmp_path / "guest", CLOUD_KERNEL) is None
    if step != "download":
        assert (tmp_path / "guest/archives/a_1.deb").exists(), "the download was thrown away"
    made = guest_image(tmp_path)
    assert made.kernel.read_bytes() == b"data"
    assert guest_image(tmp_path).made_s == 0
    assert maker.steps.count("make") == (2 if step == "make" else 1)


def test_a_damaged_package_is_downloaded_again(
    maker: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    maker.fails["unpack"] = ProgramError("dpkg-deb: damaged", [], 2)
    guest_image(tmp_path)
    assert maker.steps == ["download", "unpack", "download", "unpack", "make"]
    assert capsys.readouterr().err.count("making the guest, once") == 1
    guest_image(tmp_path)
    assert not capsys.readouterr().err, "reported as made, though it was in the cache"


def test_a_package_that_stays_damaged_is_named(
    maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*_: object) -> None:
        raise ProgramError("dpkg-deb: a_1.deb is damaged", [], 2)

    monkeypatch.setattr(images, "unpack", damaged)
    with pytest.raises(CaseBroken, match=r"cannot be made: dpkg-deb: a_1\.deb is damaged"):
        guest_image(tmp_path)
    assert not (tmp_path / "guest/archives").exists(), "the damaged file was kept"


@pytest.mark.parametrize("damage", ["cut", "removed", "no sizes"])
def test_an_image_that_was_damaged_is_made_again(maker: Maker, tmp_path: Path, damage: str) -> None:
    image = guest_image(tmp_path)
    if damage == "cut":
        image.tools.write_bytes(b"da")
    elif damage == "removed":
        image.initramfs.unlink()
    else:
        (image.kernel.parent / "sizes").unlink()
    maker.fails["make"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        guest_image(tmp_path)
    for file in image.kernel.parent.iterdir():
        file.unlink()
    image.kernel.parent.rmdir()  # as the real _make does before its last step
    assert guest_image(tmp_path).tools.read_bytes() == b"data"


def test_one_process_makes_the_guest_while_others_wait(maker: Maker, tmp_path: Path) -> None:
    locked: list[bool] = []

    def look(*_: object) -> None:
        with (tmp_path / "guest/lock").open("w") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        locked.append(True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "unpack", look)
        guest_image(tmp_path)
    assert (locked, maker.steps) == ([True], ["download", "make"])


def test_downloads_do_not_change_what_is_needed(tmp_path: Path) -> None:
    try:
        first = resolve(tmp_path, ["busybox-static"])
    except NotRun as reason:
        pytest.skip(str(reason))
    assert first.files
    for name in first.files:  # complete for apt, which compares the size
        (tmp_path / "archives").mkdir(exist_ok=True)
        with (tmp_path / "archives" / name).open("wb") as file:
            file.truncate(first.size)
    assert resolve(tmp_path, ["busybox-static"]) == first
    with pytest.raises(NotRun, match="does not know all packages of the guest"):
        resolve(tmp_path, ["no-such-package-at-all"])
