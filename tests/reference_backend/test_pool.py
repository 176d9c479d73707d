"""Pools: names, life and errors of volumes, the same in memory and in a directory."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockio.errors import (
    BlockError,
    DamagedStore,
    VolumeExists,
    VolumeInUse,
    VolumeNotFound,
)
from reference_backend.file_pools import DirectoryPool, ImagePool, encoded_name
from reference_backend.memory_pool import MemoryPool
from reference_backend.pool import Pool, VolumeOptions, checked_name
from reference_backend.store.volume import SIZE_MAX


@pytest.fixture(params=["memory", "directory"])
def pool(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pool]:
    in_memory = request.param == "memory"
    made: Pool = MemoryPool() if in_memory else DirectoryPool(tmp_path / "pool", create=True)
    yield made
    made.close()


def test_volumes_are_made_found_listed_and_removed(pool: Pool) -> None:
    pool.create("pool/b", 4096)
    pool.create("pool/a", SIZE_MAX)
    assert list(pool.list()) == ["pool/a", "pool/b"]
    assert pool.open("pool/a") is pool.open("pool/a")
    assert pool.info("pool/a")[:4] == ("pool/a", SIZE_MAX, 0, ())
    with pytest.raises(VolumeExists):
        pool.create("pool/a", 1)
    pool.remove("pool/a")
    with pytest.raises(VolumeNotFound):
        pool.open("pool/a")
    pool.create("pool/a", 512)
    assert pool.open("pool/a").size == 512


NAMES = ["a", "ü/漢字/🙂", "a@b", "a b%2F", ".hidden", "-", "%~" + "y" * 300]
NAMES += ["x" * 4096, "é" * 2048]


@pytest.mark.parametrize("name", NAMES)
def test_any_utf8_name_holds_a_volume(pool: Pool, name: str) -> None:
    pool.create(name, 512)
    pool.open(name).write(0, name.encode()[:512])
    assert list(pool.list()) == [name]
    assert bytes(pool.open(name).read(0, 512)).startswith(name.encode()[:512])
    pool.remove(name)
    assert not pool.list()


@pytest.mark.parametrize("name", ["", "x" * 4097, "..", "a/../b", "a/.", "nul\0", "\udc80"])
def test_dangerous_names_are_refused(pool: Pool, name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        pool.create(name, 512)


@given(st.text(min_size=1, max_size=300), st.text(min_size=1, max_size=300))
def test_encoded_names_are_distinct_and_fit_a_directory_entry(one: str, two: str) -> None:
    for name in (one, two):
        encoded = encoded_name(name) if valid(name) else "x"
        assert len(encoded.encode()) <= 255
        assert "/" not in encoded
        assert not encoded.startswith(".")
    if one != two and valid(one) and valid(two):
        assert encoded_name(one) != encoded_name(two)


def valid(name: str) -> bool:
    try:
        checked_name(name)
    except ValueError:
        return False
    return True


def test_a_snapshot_keeps_the_contents_of_its_creation(pool: Pool) -> None:
    pool.create("v", 1 << 20)
    volume = pool.open("v")
    volume.write(1000, b"before")
    volume.write(500_000, b"also")
    pool.snapshot("v", "s")
    volume.write(1000, b"after!")
    volume.discard(499_000, 5000)
    volume.resize(2000)
    frozen = pool.open("v@s")
    assert (frozen.size, frozen.read_only) == (1 << 20, True)
    assert bytes(frozen.read(1000, 6)) == b"before"
    assert bytes(frozen.read(500_000, 4)) == b"also"
    assert bytes(volume.read(1000, 6)) == b"after!"
    with pytest.raises(BlockError) as caught:
        frozen.write(0, b"x")
    assert caught.value.errno == errno.EPERM
    assert list(pool.list()) == ["v"]
    assert list(pool.snapshots("v")) == ["s"]


def test_a_clone_is_writable_and_independent(pool: Pool) -> None:
    pool.create("v", 1 << 20)
    pool.open("v").write(4096, b"origin")
    pool.snapshot("v", "s")
    pool.clone("v@s", "clone")
    pool.open("clone").write(4096, b"CLONE")
    assert bytes(pool.open("v").read(4096, 6)) == b"origin"
    assert bytes(pool.open("v@s").read(4096, 6)) == b"origin"
    pool.remove("v")
    assert bytes(pool.open("clone").read(4096, 6)) == b"CLONEn"


def test_snapshots_are_deleted_and_their_names_are_free_again(pool: Pool) -> None:
    pool.create("v", 4096)
    for round_number in range(3):
        pool.open("v").write(0, bytes([round_number]))
        pool.snapshot("v", "s")
        with pytest.raises(VolumeExists):
            pool.snapshot("v", "s")
        assert bytes(pool.open("v@s").read(0, 1)) == bytes([round_number])
        pool.remove("v@s")
        with pytest.raises(VolumeNotFound):
            pool.open("v@s")


def test_a_volume_and_a_snapshot_never_share_a_name(pool: Pool) -> None:
    pool.create("a", 512)
    pool.create("a@b", 512)
    with pytest.raises(VolumeExists):
        pool.snapshot("a", "b")
    pool.snapshot("a", "c")
    with pytest.raises(VolumeExists):
        pool.create("a@c", 512)


def test_missing_volumes_and_snapshots_are_not_found(pool: Pool) -> None:
    pool.create("v", 512)
    for name in ("none", "v@none", "none@none", "v/", "@", "v@"):
        with pytest.raises(VolumeNotFound):
            pool.open(name)
        with pytest.raises(VolumeNotFound):
            pool.remove(name)
    with pytest.raises(VolumeNotFound):
        pool.clone("v@none", "new")


def test_the_empty_name_is_the_only_volume(pool: Pool) -> None:
    with pytest.raises(VolumeNotFound, match="0 volumes"):
        pool.open("")
    pool.create("one", 512)
    assert pool.open("").name == "one"
    pool.create("two", 512)
    with pytest.raises(VolumeNotFound, match="2 volumes"):
        pool.open("")


def test_dirty_ranges_are_those_written_since_the_snapshot(pool: Pool) -> None:
    pool.create("v", 1 << 20)
    volume = pool.open("v")
    volume.write(0, b"old")
    assert [tuple(e) for e in volume.dirty_status(0, 1 << 20)] == [(4096, 1), ((1 << 20) - 4096, 0)]
    pool.snapshot("v", "s")
    assert [tuple(e) for e in volume.dirty_status(0, 1 << 20)] == [(1 << 20, 0)]
    volume.write(8192, b"new")
    volume.discard(0, 4096)
    dirty = [(4096, 1), (4096, 0), (4096, 1), ((1 << 20) - 12288, 0)]
    assert [tuple(e) for e in volume.dirty_status(0, 1 << 20)] == dirty


# -- directories


def test_a_directory_keeps_everything_for_the_next_process(tmp_path: Path) -> None:
    pool = DirectoryPool(tmp_path, VolumeOptions(undo_limit=1 << 20))
    pool.create("v", 10_000)
    pool.open("v").write(9_000, b"x" * 1000)
    pool.snapshot("v", "s")
    pool.resize("v", 20_000)
    pool.close()
    again = DirectoryPool(tmp_path)
    assert bytes(again.open("v").read(8_999, 1002)) == b"\0" + b"x" * 1000 + b"\0"
    assert again.info("v").snapshots == ("s",)
    assert again.open("v@s").size == 10_000
    again.close()


def test_two_processes_never_open_one_volume(tmp_path: Path) -> None:
    pool = DirectoryPool(tmp_path)
    pool.create("v", 4096)
    pool.open("v")
    code = (
        "import sys\n"
        "from reference_backend.file_pools import DirectoryPool\n"
        "pool = DirectoryPool(sys.argv[1])\n"
        "print(pool.info('v').size)\n"
        "for act in (pool.open, pool.remove):\n"
        "    try: act('v')\n"
        "    except Exception as error: print(type(error).__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["4096", "VolumeInUse", "VolumeInUse"]
    pool.close()


def test_read_only_pools_share_a_volume_and_change_nothing(tmp_path: Path) -> None:
    pool = DirectoryPool(tmp_path)
    pool.create("v", 4096)
    pool.close()
    readers = [DirectoryPool(tmp_path, VolumeOptions(read_only=True)) for _ in range(2)]
    for reader in readers:
        assert reader.open("v").size == 4096
        changes: list[Callable[[], None]] = [
            partial(reader.create, "w", 1),
            partial(reader.remove, "v"),
        ]
        for change in changes:
            with pytest.raises(BlockError) as caught:
                change()
            assert caught.value.errno == errno.EPERM
    writer = DirectoryPool(tmp_path)
    with pytest.raises(VolumeInUse):
        writer.open("v")
    for reader in readers:
        reader.close()


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda text: text[: len(text) // 2], "no JSON"),
        (lambda text: "", "no JSON"),
        (lambda text: text.replace('"size": 4096', '"size": 4097'), '"checksum"'),
        (lambda text: text.replace("qbd-volume", "other"), '"format"'),
        (lambda text: text.replace('"version": 1', '"version": 2'), '"version" is 2'),
        (lambda text: "[]", '"format"'),
    ],
)
def test_errors_of_damaged_metadata_name_the_file_the_position_and_the_fix(
    tmp_path: Path, change: Callable[[str], str], place: str
) -> None:
    pool = DirectoryPool(tmp_path)
    pool.create("v", 4096)
    path = tmp_path / "v" / "volume.json"
    path.write_text(change(path.read_text()))
    with pytest.raises(DamagedStore) as caught:
        pool.open("v")
    assert str(path) in str(caught.value)
    assert place in str(caught.value)
    assert "restore" in str(caught.value)
    pool.remove("v")
    assert not pool.list()


def test_missing_metadata_and_missing_snapshot_files_are_damage(tmp_path: Path) -> None:
    pool = DirectoryPool(tmp_path)
    pool.create("v", 4096)
    pool.snapshot("v", "s")
    pool.close()
    (tmp_path / "v" / "snapshots" / "1").rmdir()
    with pytest.raises(DamagedStore, match=r"snapshots/1: missing, but snapshot 's' needs it"):
        pool.open("v")
    (tmp_path / "v" / "volume.json").unlink()
    with pytest.raises(DamagedStore, match=r"volume\.json: missing"):
        pool.open("v")


def test_incomplete_volumes_of_a_crash_are_removed(tmp_path: Path) -> None:
    pool = DirectoryPool(tmp_path)
    pool.create("v", 4096)
    pool.open("v").write(0, b"data")
    pool.snapshot("v", "s")
    pool.close()
    for rubbish in (".new-1", ".trash-2", "v/snapshots/2", "v/snapshots/3.new"):
        (tmp_path / rubbish).mkdir()
        (tmp_path / rubbish / "000000").write_bytes(b"rubbish")
    (tmp_path / "v" / "volume.json.new").write_text("{")
    os.truncate(tmp_path / "v" / "data" / "000000", 1 << 20)
    (tmp_path / "v" / "data" / "000007").write_bytes(b"beyond the end")
    assert list(pool.list()) == ["v"]
    pool.create("w", 1)
    assert bytes(pool.open("v").read(0, 4)) == b"data"
    assert pool.info("v").snapshots == ("s",)
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    pool.close()
    assert found == {
        ".lock",
        "v/lock",
        "v/volume.json",
        "v/data/000000",
        "v/snapshots/1/000000",
        "w/volume.json",
    }
    assert (tmp_path / "v" / "data" / "000000").stat().st_size == 4096


def test_metadata_are_plain_json_with_the_whole_name(tmp_path: Path) -> None:
    pool = DirectoryPool(tmp_path)
    pool.create("n" * 1000, 7)
    (entry,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    document = json.loads((entry / "volume.json").read_text())
    assert (document["name"], document["size"]) == ("n" * 1000, 7)


# -- images


def test_an_image_is_one_volume_of_the_files_size(tmp_path: Path) -> None:
    path = tmp_path / "disk.raw"
    path.write_bytes(b"abc" * 1001)
    pool = ImagePool(path, "disk")
    volume = pool.open("disk")
    assert pool.open("") is volume
    assert volume.size == 3003
    volume.write(3000, b"xyz")
    pool.resize("disk", 5000)
    with pytest.raises(BlockError) as caught:
        pool.snapshot("disk", "s")
    assert caught.value.errno == errno.ENOTSUP
    with pytest.raises(BlockError):
        pool.remove("disk")
    with pytest.raises(VolumeNotFound):
        pool.open("other")
    with pytest.raises(VolumeInUse):
        ImagePool(path)
    pool.close()
    assert path.read_bytes() == b"abc" * 1000 + b"xyz" + bytes(5000 - 3003)


def test_a_read_only_image_needs_no_write_permission(tmp_path: Path) -> None:
    path = tmp_path / "disk.raw"
    path.write_bytes(b"x" * 512)
    path.chmod(0o400)
    pool = ImagePool(path, "", VolumeOptions(read_only=True))
    assert bytes(pool.open("").read(0, 512)) == b"x" * 512
    pool.close()
