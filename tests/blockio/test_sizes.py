"""Sizes are read in the notation of qemu-img and printed in the largest unit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockio.sizes import UNITS, exact_size, format_size, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("512", 512),
        (" 7 ", 7),
        ("4k", 4096),
        ("4K", 4096),
        ("4KiB", 4096),
        ("4KB", 4096),
        ("1.5G", 3 << 29),
        ("100T", 100 << 40),
        ("0.5K", 512),
        ("7B", 7),
        ("8E", 1 << 63),
    ],
)
def test_size_with_a_unit_is_bytes(text: str, size: int) -> None:
    assert parse_size(text) == size


NO_SIZES = ["", "K", "-1", "1.2.3", "1Z", "0.1K", "1 000", "0x10", "\u0661", "1e3", "8 MiB", "7iB"]


@pytest.mark.parametrize("text", NO_SIZES)
def test_text_that_is_not_a_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a size; write 512|whole number"):
        parse_size(text)


@given(st.integers(0, 1 << 70))
def test_plain_numbers_are_bytes(number: int) -> None:
    assert parse_size(str(number)) == number


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (4096, "4 KiB"),
        (1536, "1.5 KiB"),
        ((1 << 20) - 1, "1024.0 KiB"),
        (64 << 20, "64 MiB"),
        (3 << 29, "1.5 GiB"),
        (1 << 63, "8 EiB"),
    ],
)
def test_size_is_printed_in_its_largest_unit(size: int, text: str) -> None:
    assert format_size(size) == text


def test_an_exact_size_is_not_rounded() -> None:
    sizes = (0, 513, 4096, 1025 << 10, 3 << 30)
    assert [exact_size(size) for size in sizes] == [
        "0 bytes",
        "513 bytes",
        "4 KiB",
        "1025 KiB",
        "3 GiB",
    ]


@given(st.integers(1, 1000), st.sampled_from(list(UNITS)))
def test_printed_whole_sizes_can_be_read_back(count: int, unit: str) -> None:
    text = format_size(count * UNITS[unit]).replace(" bytes", "").replace(" ", "")
    assert parse_size(text) == count * UNITS[unit]
