"""Contents of blocks: each kind is what its name says."""

from __future__ import annotations

import random
import zlib
from array import array

import pytest

from qbdcheck.kit.block_contents import BLOCK, Contents, kinds, look_alikes


@pytest.mark.parametrize("seed", range(40))
def test_look_alikes_differ_and_are_equal_by_their_weak_comparison(seed: int) -> None:
    pairs = dict(look_alikes(random.Random(seed)))
    for name, (one, other) in pairs.items():
        assert len(one) == len(other) == BLOCK and one != other, name
    one, other = pairs["CRC-32"]
    assert zlib.crc32(one) == zlib.crc32(other)
    one, other = pairs["Adler-32 and Fletcher"]
    assert zlib.adler32(one) == zlib.adler32(other)
    one, other = pairs["sum of bytes"]
    assert sum(one) == sum(other)
    one, other = pairs["sum and XOR of words"]
    assert sorted(array("Q", one)) == sorted(array("Q", other))
    one, other = pairs["all but one bit"]
    assert (int.from_bytes(one) ^ int.from_bytes(other)).bit_count() == 1


def test_each_kind_makes_a_block() -> None:
    made = [make() for make in kinds(random.Random(1)) for _ in range(20)]
    assert {len(one) for one in made} == {BLOCK}
    assert any(one == bytes(BLOCK) for one in made)
    assert any(one.endswith(bytes(512)) and any(one) for one in made)
    assert any(sum(array("I", one)) % (1 << 32) == 0 and any(one) for one in made)


def test_drawn_contents_come_again() -> None:
    contents = Contents(random.Random(1), stamps=0.25)
    drawn = [contents.draw(10_000) for _ in range(200)]
    blocks = [one for one in drawn if one is not None]
    assert {len(one) for one in blocks} == {10_000}
    assert 20 < len(drawn) - len(blocks) < 80
    assert len(set(blocks)) < len(blocks) * 0.8
