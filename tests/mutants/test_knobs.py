"""Knobs of mutants: their effects, and the values that are refused."""

from __future__ import annotations

import pytest

from blockio.layers import Command, Reply, Request
from mutants.catalogue import catalogue, is_control
from mutants.durability import FlushNoop
from mutants.knobs import ALL, FIXED, KnobError, Knobs, split
from mutants.mutant import Mutant
from mutants.sizes import SizeRoundedUp
from mutants.stale import PhantomWrite
from mutants.zeroes import WriteZeroesNoop
from tests.mutants.conftest import Clock
from tests.mutants.test_mutant import passes_on


def write(offset: int = 0, length: int = 512, connection: int = 1) -> Request:
    return Request(Command.WRITE, 0, offset, length, 1, bytes(length), connection)


def test_rate_strikes_at_about_one_in_n() -> None:
    passed = passes_on(PhantomWrite(rate="10"), *(write() for _ in range(2000)))
    assert 120 < passed.count(False) < 290


def test_offset_selects_requests_that_touch_the_range() -> None:
    mutant = PhantomWrite(rate="1", offset="4096-8191")
    requests = [write(at) for at in (0, 3584, 3585, 4096, 8191, 8192)]
    assert passes_on(mutant, *requests) == [True, True, False, False, False, True]


def test_offset_selects_a_request_of_length_0_by_its_offset() -> None:
    mutant = PhantomWrite(rate="1", offset="4096-8191")
    assert passes_on(mutant, write(4095, 0), write(4096, 0)) == [True, False]


def test_connection_spares_other_connections() -> None:
    mutant = PhantomWrite(rate="1", connection="2")
    requests = [write(connection=number) for number in (1, 2, 3)]
    assert passes_on(mutant, *requests) == [True, False, True]


def test_a_request_out_of_scope_is_no_occasion() -> None:
    mutant = PhantomWrite(rate="1", after="1", connection="2")
    requests = [write(connection=number) for number in (1, 1, 2, 2)]
    assert passes_on(mutant, *requests) == [True, True, True, False]


def test_scope_chooses_among_the_commands_of_the_bug() -> None:
    assert Knobs({"scope": "write+discard"}).commands == (Command.WRITE, Command.TRIM)
    assert PhantomWrite(scope="write+discard").knobs.commands == (Command.WRITE,)


def test_idle_arms_the_bug_permanently(clock: Clock) -> None:
    mutant = PhantomWrite(rate="1", idle="0.05")
    assert passes_on(mutant, write(), write()) == [True, True]
    clock.advance(0.06)
    assert passes_on(mutant, write(), write()) == [False, False]


def test_any_request_ends_the_idle_time(clock: Clock) -> None:
    mutant = PhantomWrite(rate="1", idle="0.2")
    read = Request(Command.READ, 0, 0, 512, 1)
    for _ in range(12):  # a quarter of a second without a write
        clock.advance(0.02)
        mutant.handle(read, lambda _: Reply(data=bytes(512)))
    assert passes_on(mutant, write()) == [True]


@pytest.mark.parametrize(
    ("mutant", "options", "message"),
    [
        (PhantomWrite, {"rate": "0"}, "phantom-write: rate=0: must be a whole number"),
        (PhantomWrite, {"after": "-1"}, "after=-1: must be a whole number of at least 0"),
        (PhantomWrite, {"idle": "soon"}, "idle=soon: must be a number of seconds"),
        (PhantomWrite, {"idle": "nan"}, "idle=nan: must be a number of seconds"),
        (PhantomWrite, {"offset": "9-3"}, "offset=9-3: must be LO-HI"),
        (PhantomWrite, {"offset": "9"}, "offset=9: must be LO-HI"),
        (PhantomWrite, {"connection": "0"}, "connection=0: must be a whole number of at least 1"),
        (PhantomWrite, {"scope": "wirte"}, "scope=wirte: wirte is not one of read, write, flush"),
        (PhantomWrite, {"scope": "read"}, "scope=read: this bug damages only write"),
        (PhantomWrite, {"nonsense": "1"}, "nonsense=1: unknown knob; knobs are rate, after"),
        (FlushNoop, {"offset": "0-1"}, "flush-noop: offset=0-1: a flush has no offset"),
        (SizeRoundedUp, {"rate": "9"}, "rate=9: this bug is a fixed fact and has no knobs"),
        (WriteZeroesNoop, {"scope": "write"}, "scope=write: this bug damages only write_zeroes"),
        (catalogue()["torn-write"], {"scope": "write"}, "has only the knobs rate, after, idle"),
    ],
)
def test_a_wrong_knob_is_refused(
    mutant: type[Mutant], options: dict[str, str], message: str
) -> None:
    with pytest.raises(KnobError) as refused:
        mutant.knobs_of(options)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_knobs_are_written_as_key_and_value() -> None:
    assert split(["rate=3", "scope=write"]) == {"rate": "3", "scope": "write"}


@pytest.mark.parametrize(
    ("texts", "message"),
    [(["rate"], "KEY=VALUE"), ([""], "an empty knob"), (["a=1", "a=1"], "given twice")],
)
def test_a_malformed_knob_is_refused(texts: list[str], message: str) -> None:
    with pytest.raises(KnobError, match=message):
        split(texts)


def test_a_bug_in_requests_names_its_commands() -> None:
    """The knob ``scope`` must have a choice."""
    every = Mutant.commands
    all_commands = [
        one.id
        for one in catalogue().values()
        if one.takes == ALL and one.commands == every and not is_control(one)
    ]
    # What these do wrong does not depend on the command.
    assert all_commands == [
        "transient-becomes-fatal",
        "error-of-previous-request",
        "close-ends-others",
        "completion-without-wakeup",
        "failure-leaks-slot",
        "error-text-leaks-data",
        "cookie-cut-to-32-bits",
        "failed-never-answered",
    ]


def test_no_mutant_overrides_handle() -> None:
    for one in catalogue().values():
        assert one.handle is Mutant.handle, f"{one.id}: override carry_out(), not handle()"
        assert one.takes in (ALL, FIXED) or set(one.takes) < set(ALL), one.id
