"""Knobs of mutants: what they mean, and what is refused."""

from __future__ import annotations

import time

import pytest

from blockio.layers import Command, Reply, Request
from mutants.catalogue import catalogue, is_control
from mutants.durability import FlushNoop
from mutants.knobs import ALL, FIXED, KnobError, Knobs, split
from mutants.mutant import Mutant
from mutants.sizes import SizeRoundedUp
from mutants.stale import PhantomWrite
from mutants.zeroes import WriteZeroesNoop


def comes_through(mutant: Mutant, *requests: Request) -> list[bool]:
    """Which of the requests the mutant hands down."""
    passed: list[bool] = []
    for request in requests:
        seen: list[Request] = []
        below = lambda one: (seen.append(one), Reply())[1]  # noqa: B023, E731
        mutant.handle(request, below)
        passed.append(bool(seen))
    return passed


def write(offset: int = 0, length: int = 512, connection: int = 1) -> Request:
    return Request(Command.WRITE, 0, offset, length, 1, bytes(length), connection)


def test_rate_strikes_at_about_one_in_n() -> None:
    passed = comes_through(PhantomWrite(rate="10"), *[write()] * 2000)
    assert 120 < passed.count(False) < 290


def test_offset_is_any_touched_byte_of_the_range() -> None:
    mutant = PhantomWrite(rate="1", offset="4096-8191")
    requests = [write(at) for at in (0, 3584, 3585, 4096, 8191, 8192)]
    assert comes_through(mutant, *requests) == [True, True, False, False, False, True]


def test_offset_of_a_request_of_no_length_is_its_place() -> None:
    mutant = PhantomWrite(rate="1", offset="4096-8191")
    assert comes_through(mutant, write(4095, 0), write(4096, 0)) == [True, False]


def test_connection_leaves_others_alone() -> None:
    mutant = PhantomWrite(rate="1", connection="2")
    requests = [write(connection=number) for number in (1, 2, 3)]
    assert comes_through(mutant, *requests) == [True, False, True]


def test_what_is_out_of_scope_is_no_occasion() -> None:
    mutant = PhantomWrite(rate="1", after="1", connection="2")
    requests = [write(connection=number) for number in (1, 1, 2, 2)]
    assert comes_through(mutant, *requests) == [True, True, True, False]


def test_scope_chooses_among_the_commands_of_the_bug() -> None:
    assert Knobs({"scope": "write+discard"}).commands == (Command.WRITE, Command.TRIM)
    assert PhantomWrite(scope="write+discard").knobs.commands == (Command.WRITE,)


def test_idle_arms_it_once_and_for_all() -> None:
    mutant = PhantomWrite(rate="1", idle="0.05")
    assert comes_through(mutant, write(), write()) == [True, True]
    time.sleep(0.06)
    assert comes_through(mutant, write(), write()) == [False, False]


def test_idle_is_an_end_of_all_requests_not_of_occasions() -> None:
    mutant = PhantomWrite(rate="1", idle="0.2")
    read = Request(Command.READ, 0, 0, 512, 1)
    for _ in range(12):  # a quarter of a second without a write
        time.sleep(0.02)
        mutant.handle(read, lambda _: Reply(data=bytes(512)))
    assert comes_through(mutant, write()) == [True]


@pytest.mark.parametrize(
    ("mutant", "words", "told"),
    [
        (PhantomWrite, {"rate": "0"}, "phantom-write: rate=0: must be a whole number from 1 on"),
        (PhantomWrite, {"after": "-1"}, "after=-1: must be a whole number from 0 on"),
        (PhantomWrite, {"idle": "soon"}, "idle=soon: must be a number of seconds"),
        (PhantomWrite, {"idle": "nan"}, "idle=nan: must be a number of seconds"),
        (PhantomWrite, {"offset": "9-3"}, "offset=9-3: must be LO-HI"),
        (PhantomWrite, {"offset": "9"}, "offset=9: must be LO-HI"),
        (PhantomWrite, {"connection": "0"}, "connection=0: must be a whole number from 1 on"),
        (PhantomWrite, {"scope": "wirte"}, "scope=wirte: wirte is none of read, write, flush"),
        (PhantomWrite, {"scope": "read"}, "scope=read: this is a bug of write"),
        (PhantomWrite, {"nonsense": "1"}, "nonsense=1: no such knob; there are rate, after"),
        (FlushNoop, {"offset": "0-1"}, "flush-noop: offset=0-1: a flush has no offset"),
        (SizeRoundedUp, {"rate": "9"}, "rate=9: this bug is a fixed fact, and takes no knobs"),
        (WriteZeroesNoop, {"scope": "write"}, "scope=write: this is a bug of write_zeroes"),
        (catalogue()["torn-write"], {"scope": "write"}, "takes only rate, after, idle, seed"),
    ],
)
def test_what_makes_no_sense_is_refused(mutant: type[Mutant], words: dict, told: str) -> None:
    with pytest.raises(KnobError) as refused:
        mutant.knobs_of(words)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_words_are_pairs() -> None:
    assert split(["rate=3", "scope=write"]) == {"rate": "3", "scope": "write"}
    for words, told in ((["rate"], "KEY=VALUE"), ([""], "an empty word"), (["a=1"] * 2, "twice")):
        with pytest.raises(KnobError, match=told):
            split(words)


def test_a_bug_of_requests_says_of_which() -> None:
    """Where ``scope`` is a knob, it must be able to choose."""
    every = Mutant.commands
    all_commands = [
        one.id
        for one in catalogue().values()
        if one.takes == ALL and one.commands == every and not is_control(one)
    ]
    assert all_commands == ["transient-becomes-fatal"]


def test_no_mutant_leaves_out_what_all_share() -> None:
    for one in catalogue().values():
        assert one.handle is Mutant.handle, f"{one.id}: override meddle(), not handle()"
        assert one.takes in (ALL, FIXED) or set(one.takes) < set(ALL), one.id
