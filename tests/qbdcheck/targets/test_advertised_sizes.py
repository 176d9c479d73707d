"""Volumes of targets with a large minimum block: their sizes, and discards through QEMU."""

from __future__ import annotations

from pathlib import Path

import pytest

from qbdcheck.files import ROOT
from qbdcheck.options import TargetOptions
from qbdcheck.programs.qemu_io import IoFailed
from qbdcheck.targets import description as descriptions
from qbdcheck.targets.advertised_sizes import Sizes, sizes_of, whole_blocks
from qbdcheck.targets.capabilities import capabilities
from qbdcheck.targets.session import TargetSession
from tests.qbdcheck.targets.conftest import Opener

LARGE = (65536, 65536, 32 << 20)


@pytest.mark.parametrize(
    ("size", "sizes", "made"),
    [
        (1000, None, 1000),
        (1000, (512, 4096, 65536), 1000),
        (1000, (4096, 4096, 65536), 4096),
        (65536, LARGE, 65536),
        (65537, LARGE, 131072),
        (0, LARGE, 0),
    ],
)
def test_a_volume_has_whole_blocks(size: int, sizes: Sizes | None, made: int) -> None:
    assert whole_blocks(size, sizes) == made


def test_a_volume_has_whole_blocks_and_whole_extents() -> None:
    assert whole_blocks(1000, None, 4 << 20) == 4 << 20
    assert whole_blocks(1000, (4096, 4096, 65536), 6144) == 12288


def test_the_probe_remembers_what_the_target_advertises(scratch: Path) -> None:
    text = (ROOT / "targets" / "reference.yaml").read_text()
    file = scratch / "large.yaml"
    text = text.replace("about: ", "about: not yet probed, ")  # other tests have the same server
    file.write_text(text.replace("--control {control}", "--control {control} --min-block 64k"))
    description = descriptions.load(file)
    session = TargetSession(description, TargetOptions(), scratch)
    assert session.minimum_block == 1
    capabilities(description, TargetOptions(), scratch)
    assert sizes_of(description, {}) == LARGE
    assert sizes_of(description, {"min_block": 4096}) == (4096, 65536, 32 << 20)
    assert session.minimum_block == session.preferred_block == 65536
    try:
        disk = session.new_disk(100_000)
        assert disk.size == 131072
        disk.resize(200_000)
        assert disk.size == 262144
        with session.qemu_io(disk) as io:
            io.discard(70_000, 512)
            io.write(70_000, 512)
            with pytest.raises(IoFailed, match="Invalid argument"):
                io.request("discard 512 512")
        disk.verify()
    finally:
        session.close()


def test_a_size_that_a_case_asks_for_counts(open_target: Opener) -> None:
    disk = open_target("reference").new_disk(100_000, prefill=False, min_block=65536)
    assert disk.size == 131072
