"""Data at a wrong place."""

from __future__ import annotations

import pytest

from injectors.misdirected_write import MisdirectedWrite
from tests.injectors.conftest import Stack


def test_a_write_goes_to_another_place(faulty: type[Stack]) -> None:
    stack = faulty("{event: write_aio, action: misdirect, by: 2}")
    stack.write(b"x" * 512, offset=512)
    assert [n for n in range(8) if stack.disk.data[n * 512]] == [3]


@pytest.mark.parametrize(("by", "offset", "place"), [(-4, 0, 4), (8, 65536 - 512, 119)])
def test_at_an_end_of_the_volume_the_opposite_direction_is_used(
    faulty: type[Stack], by: int, offset: int, place: int
) -> None:
    stack = faulty(f"{{event: write_aio, action: misdirect, by: {by}}}")
    assert stack.write(b"x" * 512, offset=offset).error == 0
    assert [n for n in range(128) if stack.disk.data[n * 512]] == [place]


def test_a_read_returns_data_of_another_place(faulty: type[Stack]) -> None:
    stack = faulty("{event: read_aio, action: misdirect}")
    stack.disk.data[8 * 512 : 9 * 512] = b"y" * 512
    assert stack.read().data == b"y" * 512


def test_by_0_is_refused() -> None:
    with pytest.raises(ValueError, match="other than 0"):
        MisdirectedWrite(by=0)
