"""Guests on targets with large minimum blocks."""

from __future__ import annotations

from typing import Any

import pytest

from qbdcheck.errors import NotRun
from qbdcheck.kit.guests import for_guests, needs_small_blocks

NBD: dict[str, Any] = {"driver": "nbd", "export": "disk"}
RAW: dict[str, Any] = {"driver": "raw", "file": NBD, "discard": "unmap"}
QCOW2: dict[str, Any] = {"driver": "qcow2", "file": NBD, "discard": "unmap"}
FILE: dict[str, Any] = {"driver": "raw", "file": {"driver": "file"}, "discard": "unmap"}


@pytest.mark.parametrize("minimum", [1, 512, 4096])
def test_guests_run_where_their_blocks_are_large_enough(minimum: int) -> None:
    needs_small_blocks(minimum)


def test_guests_do_not_run_on_larger_blocks() -> None:
    with pytest.raises(NotRun, match="16384 bytes; blocks of guests have 4096"):
        needs_small_blocks(16384)


@pytest.mark.parametrize(
    ("node", "minimum", "discard"),
    [
        (RAW, 4096, "ignore"),
        (RAW, 512, "unmap"),
        (RAW, 1, "unmap"),
        (QCOW2, 4096, "unmap"),
        (FILE, 4096, "unmap"),
        ({"driver": "raw", "file": NBD}, 4096, None),
        ({"driver": "raw", "file": "node", "discard": "unmap"}, 4096, "unmap"),
    ],
)
def test_discards_that_qemu_does_not_align_do_not_reach_the_target(
    node: dict[str, Any], minimum: int, discard: str | None
) -> None:
    before = dict(node)
    assert for_guests(node, minimum).get("discard") == discard
    assert node == before
