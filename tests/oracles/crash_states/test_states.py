"""The enumerated states are exactly those of a model."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockio.write_log import Entry, LogFlag
from oracles.crash_states.epochs import epochs
from oracles.crash_states.families import FAMILIES, Bounds, masks
from oracles.crash_states.states import CrashStates, Position, StateId

SECTORS = 6
SIZE = SECTORS * 512


def write(sector: int, count: int, letter: int, fua: bool = False) -> Entry:
    data = b"".join(bytes([letter]) * 512 for _ in range(count))
    return Entry(LogFlag.FUA if fua else LogFlag(0), sector * 512, count * 512, data)


FLUSH = Entry(LogFlag.FLUSH)


@st.composite
def logs(draw: st.DrawFn) -> list[Entry]:
    found = []
    for letter in range(1, draw(st.integers(1, 8))):
        kind = draw(st.sampled_from("wwwwzfF"))
        first = draw(st.integers(0, SECTORS - 1))
        count = draw(st.integers(1, SECTORS - first))
        if kind == "f":
            found.append(FLUSH)
        elif kind == "z":
            found.append(Entry(LogFlag.DISCARD, first * 512, count * 512))
        else:
            found.append(write(first, count, letter, kind == "F"))
    return found


def model(log: list[Entry]) -> dict[int, set[bytes]]:
    """Return all images after a cut without tearing, by the number of answered entries, naively."""
    found: dict[int, set[bytes]] = {}
    for cut in range(len(log) + 1):
        flushes = [n for n, entry in enumerate(log[:cut]) if entry.flags & LogFlag.FLUSH]
        durable = flushes[-1] if flushes else 0
        pending = [n for n in range(durable, cut) if log[n].length]
        free = [n for n in pending if not log[n].flags & LogFlag.FUA]
        images = found.setdefault(cut, set())
        for chosen in itertools.product((False, True), repeat=len(free)):
            lost = {n for n, there in zip(free, chosen, strict=True) if not there}
            image = bytearray(SIZE)
            for number, entry in enumerate(log[:cut]):
                if entry.length and number not in lost:
                    end = entry.offset + entry.length
                    image[entry.offset : end] = entry.data or bytes(entry.length)
            images.add(bytes(image))
    return found


@given(logs())
def test_all_states_and_no_others(log: list[Entry]) -> None:
    image = bytearray(SIZE)
    states = CrashStates(log, memoryview(image), tear=0)
    position = Position(states, memoryview(image))
    seen: set[bytes] = set()
    expected = model(log)
    for candidate in states.candidates(Bounds(subsets=10), 1):
        position.go(candidate.state)
        contents = bytes(image)
        assert contents not in seen, "the same contents twice"
        seen.add(contents)
        assert contents in set().union(*(expected[n] for n in range(candidate.limit + 1)))
    assert seen == set().union(*expected.values())
    assert states.total() >= states.distinct == len(seen)


@given(logs(), st.integers(0, 1 << 32))
def test_the_last_moment_at_which_a_state_can_occur(log: list[Entry], seed: int) -> None:
    """Each entry makes a promise: states differ by the number of promises made."""
    image = bytearray(SIZE)
    acknowledged = list(range(1, len(log) + 1))
    states = CrashStates(log, memoryview(image), acknowledged, tear=0)
    position = Position(states, memoryview(image))
    expected = model(log)
    for candidate in states.candidates(Bounds(subsets=10), seed):
        position.go(candidate.state)
        # The cut at `limit` can leave it: this is the most that was promised when it came about.
        assert bytes(image) in expected[candidate.limit]


@given(logs(), st.randoms(use_true_random=False))
def test_an_image_goes_from_any_state_to_any_other(log: list[Entry], rng: random.Random) -> None:
    image = bytearray(SIZE)
    states = CrashStates(log, memoryview(image))
    position = Position(states, memoryview(image))
    known = [c.state for c in states.candidates(Bounds(subsets=4, chance=8), 1)]
    contents = {}
    for state in known:
        position.go(state)
        contents[state] = bytes(image)
    rng.shuffle(known)
    for state in known:
        position.go(state)
        assert bytes(image) == contents[state]


@given(logs(), st.sampled_from([0, 512, 1024]))
def test_the_number_of_states_is_exact(log: list[Entry], tear: int) -> None:
    for epoch in epochs(log, tear):
        options = [[0, *(1 << b for b in range(len(epoch.variants)) if group >> b & 1)]
                   for group in epoch.groups]  # fmt: skip
        if len(options) > 4:
            continue
        every = {sum(chosen) for chosen in itertools.product(*options)}
        assert sum(map(epoch.is_legal, every)) == epoch.states()


@given(logs())
def test_families_give_legal_states_with_one_variant_of_each_write(log: list[Entry]) -> None:
    for epoch in epochs(log):
        for family in FAMILIES:
            for mask in masks(family, epoch, Bounds(subsets=2), random.Random(1)):
                assert epoch.is_legal(mask)
                assert all((mask & group).bit_count() <= 1 for group in epoch.groups)
                assert mask >> len(epoch.variants) == 0


def test_tears_are_where_the_units_of_the_disk_are() -> None:
    log = [Entry(LogFlag(0), 3 * 512, 12 * 512, bytes(12 * 512))]
    torn = [(v.offset // 512, v.length // 512) for v in epochs(log, 4096)[0].variants[1:]]
    assert torn == [(3, 5), (8, 7)]
    torn = [(v.offset // 512, v.length // 512) for v in epochs(log, 512)[0].variants[1:]]
    assert torn == [(3, 1), (4, 11), (3, 6), (9, 6), (3, 11), (14, 1)]


def test_a_write_with_the_flush_flag_flushes_first() -> None:
    log = [write(0, 1, 1), write(1, 1, 2)._replace(flags=LogFlag.FLUSH)]
    first, second = epochs(log, 0)
    assert (len(first), len(second), first.end, second.end) == (1, 1, 1, 2)


def test_equal_contents_are_judged_again_after_further_promises() -> None:
    log = [write(0, 1, 1), write(1, 1, 2)]
    for acknowledged, expected in (([], 4), ([2], 4), ([1], 4)):
        states = CrashStates(log, memoryview(bytearray(SIZE)), acknowledged, tear=0)
        assert len(list(states.candidates(Bounds(), 1))) == expected
    states = CrashStates([*log, FLUSH], memoryview(bytearray(SIZE)), [3], tear=0)
    assert len(list(states.candidates(Bounds(), 1))) == 5


def test_a_state_is_described_by_what_is_lost() -> None:
    log = [write(0, 1, 1), FLUSH, write(0, 2, 2), write(2, 1, 3), write(3, 1, 4)]
    states = CrashStates(log, memoryview(bytearray(SIZE)))
    epoch = states.epochs[1]
    torn = epoch.variants[1]
    assert torn.torn == "only the first 512 of 1024 bytes"
    mask = 0b10 | epoch.wholes[2]
    assert states.describe(StateId(1, mask)) == (
        "after the flush at entry 1: 1 of 3 writes there; lost: 3;"
        " 2 torn (only the first 512 of 1024 bytes)"
    )


@pytest.mark.parametrize("text", ["", "1", "1:", "x:1", "1:0x1"])
def test_a_wrong_state_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="EPOCH:MASK"):
        StateId.parse(text)
    assert StateId.parse(str(StateId(3, 255))) == StateId(3, 255)


def test_states_beyond_the_log_are_refused() -> None:
    states = CrashStates([write(0, 1, 1)], memoryview(bytearray(SIZE)))
    position = Position(states, memoryview(bytearray(SIZE)))
    for state, message in ((StateId(1, 0), "1 epochs"), (StateId(0, 2), "no state 2")):
        with pytest.raises(ValueError, match=message):
            position.go(state)
    with pytest.raises(ValueError, match="entry 0 of the log ends at 512"):
        CrashStates([write(0, 1, 1)], memoryview(bytearray(511)))
