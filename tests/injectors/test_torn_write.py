"""Writes of which only some sectors are stored."""

from __future__ import annotations

import errno

import pytest

from blockio.layers import CommandFlag
from injectors.torn_write import TornWrite
from tests.injectors.conftest import Stack

DATA = b"".join(bytes([n]) * 512 for n in range(1, 5))


def stored(stack: Stack, sectors: int = 4, first: int = 0) -> list[int]:
    start = first * 512
    return [stack.disk.data[start + n * 512] for n in range(sectors)]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("keep: first-sectors, sectors: 3", [1, 2, 3, 0]),
        ("keep: last-sectors, sectors: 1", [0, 0, 0, 4]),
        ("keep: even-sectors", [1, 0, 3, 0]),
    ],
)
def test_the_kept_sectors_are_stored_and_no_others(
    faulty: type[Stack], keys: str, expected: list[int]
) -> None:
    stack = faulty(f"{{event: write_aio, action: torn, {keys}}}")
    assert stack.write(DATA).error == 0
    assert stored(stack) == expected


def test_some_sectors_are_stored_and_repeat_with_the_seed(faulty: type[Stack]) -> None:
    def seen(seed: int) -> list[int]:
        stack = faulty("{event: write_aio, action: torn, keep: some-sectors}", seed=seed)
        stack.write(DATA)
        return stored(stack)

    for seed in range(20):
        assert 0 < sum(map(bool, seen(seed))) < 4
        assert seen(seed) == seen(seed)


def test_an_unaligned_write_is_torn_between_sectors(faulty: type[Stack]) -> None:
    stack = faulty("{event: write_aio, action: torn, sectors: 2}")
    stack.write(b"\x07" * 1024, offset=256)
    assert bytes(stack.disk.data[:2048]) == bytes(256) + b"\x07" * 768 + bytes(1024)


def test_flags_are_kept_and_an_errno_may_follow(faulty: type[Stack]) -> None:
    stack = faulty("{event: write_aio, action: torn, keep: even-sectors, errno: EIO}")
    assert stack.write(DATA, flags=CommandFlag.FUA).error == errno.EIO
    assert [(offset, flags) for _, offset, _, flags in stack.disk.asked] == [(0, 1), (1024, 1)]


def test_a_write_of_one_sector_cannot_be_torn(faulty: type[Stack]) -> None:
    stack = faulty("{event: write_aio, action: torn}")
    stack.write(b"x" * 512)
    assert stack.fired == [0]
    assert stack.disk.data[:512] == b"x" * 512


def test_sectors_requires_first_or_last_sectors() -> None:
    with pytest.raises(ValueError, match="first-sectors or last-sectors"):
        TornWrite("even-sectors", sectors=2)
