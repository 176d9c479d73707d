"""Flipped bits."""

from __future__ import annotations

import pytest

from injectors.bit_flip import BitFlip
from tests.injectors.conftest import Stack


def bits(data: bytes | bytearray | memoryview) -> int:
    return sum(byte.bit_count() for byte in data)


def test_a_read_has_wrong_bits_and_the_disk_does_not(faulty: type[Stack]) -> None:
    stack = faulty("{event: read_aio, action: corrupt, bits: 3, iotype: read}")
    assert bits(stack.read().data) == 3
    assert bits(stack.disk.data) == 0


def test_a_write_stores_wrong_bits(faulty: type[Stack]) -> None:
    stack = faulty("{event: write_aio, action: corrupt, once: true}")
    assert stack.write(bytes(512)).error == 0
    assert bits(stack.disk.data[:512]) == 1
    assert bits(stack.disk.data[512:]) == 0


def test_the_seed_chooses_the_bits(faulty: type[Stack]) -> None:
    def seen(seed: int) -> list[bytes]:
        stack = faulty("{event: read_aio, action: corrupt}", seed=seed)
        return [bytes(stack.read().data) for _ in range(3)]

    assert seen(1) == seen(1) != seen(2)
    assert len(set(seen(1))) == 3, "each fault draws anew"


def test_more_bits_than_there_are_flip_all(faulty: type[Stack]) -> None:
    stack = faulty("{event: read_aio, action: corrupt, bits: 4096}")
    assert stack.read(length=1).data == b"\xff"


def test_the_number_of_bits_has_limits() -> None:
    with pytest.raises(ValueError, match="4096"):
        BitFlip(bits=0)
