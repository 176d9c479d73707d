"""The qcow2 reader agrees with QEMU on the same images."""

import random
import subprocess
from pathlib import Path

import pytest

from oracles.qcow2 import Qcow2, Qcow2Error

SIZE = 1 << 20


def qemu_img(*arguments: object) -> None:
    subprocess.run(["qemu-img", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def filled(path: Path, options: str, seed: int = 1) -> memoryview:
    qemu_img("create", "-q", "-f", "qcow2", "-o", options, path, SIZE)
    rng = random.Random(seed)
    arguments = []
    for number in range(40):
        offset, length = rng.randrange(SIZE - 30_000), rng.randrange(1, 30_000)
        kinds = (f"write -q -P {number + 1}", "write -q -z", "write -q -zu", "discard -q")
        kind = rng.choice(kinds)
        arguments += ["-c", f"{kind} {offset} {length}"]
    subprocess.run(["qemu-io", *arguments, str(path)], check=True, stdout=subprocess.DEVNULL)
    return memoryview(path.read_bytes())


@pytest.mark.parametrize(
    "options",
    [
        "cluster_size=512",
        "cluster_size=4096",
        "cluster_size=65536,lazy_refcounts=on",
        "cluster_size=2097152",
        "cluster_size=16384,extended_l2=on",
        "cluster_size=65536,extended_l2=on",
        "compat=0.10,cluster_size=4096",
    ],
)
def test_reads_what_qemu_reads(tmp_path: Path, options: str) -> None:
    image = filled(tmp_path / "a", options)
    qemu_img("convert", "-O", "raw", tmp_path / "a", tmp_path / "raw")
    expected = (tmp_path / "raw").read_bytes()
    disk = Qcow2(image)
    assert disk.size == SIZE
    assert disk.read(0, SIZE) == expected
    rng = random.Random(2)
    for _ in range(50):
        offset = rng.randrange(SIZE)
        length = rng.randrange(SIZE - offset)
        assert disk.read(offset, length) == expected[offset : offset + length]


def test_reads_an_external_data_file(tmp_path: Path) -> None:
    image = filled(tmp_path / "a", f"data_file={tmp_path / 'data'},cluster_size=4096")
    qemu_img("convert", "-O", "raw", tmp_path / "a", tmp_path / "raw")
    data = memoryview((tmp_path / "data").read_bytes())
    assert Qcow2(image, data).read(0, SIZE) == (tmp_path / "raw").read_bytes()
    with pytest.raises(Qcow2Error, match="external data file"):
        Qcow2(image)


def test_the_key_is_of_the_metadata_alone(tmp_path: Path) -> None:
    path = tmp_path / "a"
    before = Qcow2(filled(path, "cluster_size=4096")).metadata_key()
    write = ["qemu-io", "-c", "write -q -P 200 0 1M", str(path)]
    subprocess.run(write, check=True)
    full = Qcow2(memoryview(path.read_bytes())).metadata_key()
    assert full != before
    subprocess.run(["qemu-io", "-c", "write -q -P 100 5000 70000", str(path)], check=True)
    assert Qcow2(memoryview(path.read_bytes())).metadata_key() == full


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:3], "no qcow2 header"),
        (lambda data: b"QFI\xfa" + data[4:], "no qcow2 header"),
        (lambda data: data[:7] + b"\x09" + data[8:], "version 9"),
        (lambda data: data[:40] + b"\xff" * 8 + data[48:], "behind the end"),
        (lambda data: data[:8] + b"\0" * 7 + b"\x80" + data[16:], "backing file"),
        (lambda data: data[:36] + bytes(4) + data[40:], "beyond the L1 table"),
    ],
)
def test_damage_is_named(tmp_path: Path, change: object, message: str) -> None:
    data = bytes(filled(tmp_path / "a", "cluster_size=4096"))
    with pytest.raises(Qcow2Error, match=message):
        Qcow2(memoryview(change(data))).read(0, SIZE)  # type: ignore[operator]


def test_compressed_clusters_are_refused(tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(b"a" * SIZE)
    qemu_img("convert", "-c", "-O", "qcow2", tmp_path / "raw", tmp_path / "a")
    with pytest.raises(Qcow2Error, match="compressed"):
        Qcow2(memoryview((tmp_path / "a").read_bytes())).read(0, SIZE)
    with pytest.raises(Qcow2Error, match="not within"):
        Qcow2(filled(tmp_path / "b", "cluster_size=4096")).read(SIZE, 1)
