"""Each mutant of the group places data at a wrong offset."""

from __future__ import annotations

import pytest

from tests.mutants.conftest import Serve

GIB = 1 << 30
MIB = 1 << 20


@pytest.mark.parametrize(
    ("mutant", "offset", "length", "wrong_at"),
    [
        ("unaligned-offset-rounded", 1000, 100, 512),
        ("misdirected-write", 8192, 512, 12288),
        ("offset-32bit-wrap", 4 * GIB + 4096, 512, 4096),
    ],
)
def test_a_write_lands_elsewhere(
    serve: Serve, mutant: str, offset: int, length: int, wrong_at: int
) -> None:
    with serve(mutant, size=5 * GIB) as server, server.connect("v") as nbd:
        nbd.write(offset, b"x" * length)
        where = wrong_at & -4096
        seen = bytes(nbd.read(where, 8192)).find(b"x")
        assert where + seen == wrong_at


def test_a_discard_beyond_4_gib_hits_the_beginning(serve: Serve) -> None:
    with serve("offset-32bit-wrap-trim", size=5 * GIB) as server, server.connect("v") as nbd:
        nbd.write(0, b"x" * 8192)
        nbd.trim(4 * GIB, 4096)
        assert bytes(nbd.read(0, 8192)) == bytes(4096) + b"x" * 4096


def test_a_long_read_has_the_wrong_second_half(serve: Serve) -> None:
    with serve("short-read-resume-offset") as server, server.connect("v") as nbd:
        nbd.write(65536, b"b" * 65536)
        nbd.write(2 * MIB, b"a" * 131072)
        assert bytes(nbd.read(2 * MIB, 131072)) == b"a" * 65536 + b"b" * 65536


def test_a_write_over_the_extents_edge_is_split_wrongly(serve: Serve) -> None:
    with serve("extent-boundary-misroute") as server, server.connect("v") as nbd:
        nbd.write(MIB, b"x" * 1024)
        assert bytes(nbd.read(MIB + 512, 512)) == bytes(512)
        assert bytes(nbd.read(2 * (MIB + 512), 512)) == b"x" * 512


def test_the_second_fragment_repeats_the_first(serve: Serve) -> None:
    with serve("iov-offset-ignored") as server, server.connect("v") as nbd:
        nbd.write(65536 - 512, b"a" * 512 + b"b" * 512)
        assert bytes(nbd.read(65536, 512)) == b"a" * 512


def test_the_seam_of_a_long_write_is_lost(serve: Serve) -> None:
    with serve("split-seam-lost") as server, server.connect("v") as nbd:
        nbd.write(MIB - 4096, b"x" * 8192)
        assert bytes(nbd.read(MIB - 1024, 1536)) == b"x" * 512 + bytes(512) + b"x" * 512
