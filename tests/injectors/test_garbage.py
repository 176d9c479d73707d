"""Malformed replies."""

from __future__ import annotations

import struct

import pytest

from injectors.garbage import EXTRA
from reference_backend.nbd.constants import (
    EXTENDED_REPLY_MAGIC,
    SIMPLE_REPLY_MAGIC,
    STRUCTURED_REPLY_MAGIC,
)
from tests.injectors.conftest import Stack, on_wire

SIMPLE = struct.pack(">IIQ", SIMPLE_REPLY_MAGIC, 0, 7) + b"data"
CHUNK = struct.pack(">IHHQI", STRUCTURED_REPLY_MAGIC, 1, 1, 7, 12) + bytes(8) + b"data"
EXTENDED = struct.pack(">IHHQQQ", EXTENDED_REPLY_MAGIC, 1, 1, 7, 0, 12) + bytes(8) + b"data"
CHUNK_FIELDS = {"magic": (0, 4), "flags": (4, 6), "type": (6, 8), "cookie": (8, 16)}
WHERE = {
    SIMPLE: {"magic": (0, 4), "error": (4, 8), "cookie": (8, 16), "type": (0, 4)},
    CHUNK: CHUNK_FIELDS | {"length": (16, 20), "error": (0, 4)},
    EXTENDED: CHUNK_FIELDS | {"length": (24, 32)},
}


@pytest.mark.parametrize(
    ("raw", "what"), [(raw, what) for raw, fields in WHERE.items() for what in fields]
)
def test_only_the_chosen_field_is_wrong(faulty: type[Stack], raw: bytes, what: str) -> None:
    start, end = WHERE[raw][what]
    for seed in range(5):
        stack = faulty(f"{{event: read_aio, action: garbage, what: {what}}}", seed=seed)
        wrong, lives = on_wire(stack.read(), raw)
        assert lives
        assert wrong[start:end] != raw[start:end]
        assert wrong[:start] + wrong[end:] == raw[:start] + raw[end:]


def test_noise_has_the_length_and_extra_follows(faulty: type[Stack]) -> None:
    noise, _ = on_wire(faulty("{event: read_aio, action: garbage, what: noise}").read(), SIMPLE)
    assert len(noise) == len(SIMPLE)
    assert noise != SIMPLE
    more, _ = on_wire(faulty("{event: read_aio, action: garbage, what: extra}").read(), SIMPLE)
    assert more.startswith(SIMPLE)
    assert len(more) == len(SIMPLE) + EXTRA
