"""Legal oddities, alone and combined."""

from __future__ import annotations

import errno
import itertools

import pytest

from blockio.layers import Command
from mutants.oddities import (
    ODDITIES,
    OddityError,
    alone,
    are_compatible,
    combined,
    control_of,
    drawn,
    parse,
)
from reference_backend.nbd.errors import NbdError
from tests.mutants.conftest import Serve

MIB = 1 << 20


@pytest.mark.parametrize("seed", [0, 1, 884752332])
def test_each_possible_pair_is_in_a_combination_and_each_combination_is_possible(seed: int) -> None:
    rows = [parse(text) for text in combined(seed)]
    seen = {
        frozenset((one.name, other.name))
        for row in rows
        for one, other in itertools.combinations(row, 2)
    }
    possible = {
        frozenset((one.name, other.name))
        for one, other in itertools.combinations(ODDITIES.values(), 2)
        if are_compatible(one, other)
    }
    assert seen == possible
    assert combined(seed) == combined(seed)
    assert len(rows) < len(alone())


def test_random_combinations_are_possible_and_are_those_of_the_seed() -> None:
    rows = drawn(7, 200)
    assert all(2 <= len(parse(text)) <= 6 for text in rows)
    assert rows[:50] == drawn(7, 50)
    assert rows != drawn(8, 200)
    used = {one.name for text in rows for one in parse(text)}
    assert used == set(ODDITIES)


def test_a_seed_chooses_the_combinations() -> None:
    assert combined(1) != combined(2)


@pytest.mark.parametrize("name", alone())
def test_each_oddity_is_one_of_the_server_or_of_a_control(name: str) -> None:
    oddity = ODDITIES[name]
    assert bool(oddity.arguments) is not bool(oddity.control)
    if oddity.control:
        made_by = control_of(oddity)
        assert made_by is not None
        assert oddity.control.endswith(f":{made_by.__name__}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no-flash", "unknown oddity 'no-flash'; known: min-512"),
        ("min-512+min-4096", "min-512 and min-4096 exclude each other"),
        ("no-df+simple-headers", "no-df and simple-headers exclude each other"),
    ],
)
def test_wrong_oddities_are_refused(text: str, message: str) -> None:
    with pytest.raises(OddityError) as caught:
        parse(text)
    assert message in str(caught.value)


def test_requests_that_documents_leave_open_are_refused(serve: Serve) -> None:
    with serve("control-cache-einval") as server, server.connect("v") as nbd:
        with pytest.raises(NbdError) as caught:
            nbd.cache(0, 4096)
        assert caught.value.errno == errno.EINVAL
    with serve("control-zero-length-einval") as server, server.connect("v") as nbd:
        with pytest.raises(NbdError) as caught:
            nbd.call(Command.WRITE_ZEROES, 0, 0)
        assert caught.value.errno == errno.EINVAL
        nbd.flush()


def test_replies_are_split(serve: Serve) -> None:
    with serve("control-small-chunks") as server, server.connect("v") as nbd:
        nbd.write(0, b"x" * MIB)
        reply = nbd.call(Command.READ, 0, MIB)
        assert bytes(reply.data) == b"x" * MIB
        assert {length for _, length, _ in reply.chunks} == {16 << 10}
    with serve("control-split-extents") as server, server.connect("v") as nbd:
        nbd.write(0, b"x" * MIB)
        extents = nbd.block_status(0, MIB)["base:allocation"]
        assert [(one.length, one.flags) for one in extents] == [(MIB // 2, 0)] * 2
