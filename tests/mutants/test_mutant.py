"""The base classes of mutants, and their common properties."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest

from blockio.layers import Command, Reply, Request
from mutants.catalogue import catalogue, is_control
from mutants.mutant import Mutant, ReplyMutant, blocks, whole_blocks
from mutants.stale import PhantomWrite
from qbdcheck.mutation.expectation import expected_damage

ROOT = Path(__file__).parents[2]
MUTANTS = ROOT / "mutants"


def test_each_mutant_has_a_description_and_a_source() -> None:
    known = catalogue()
    assert len(known) >= 50
    assert sum(map(is_control, known.values())) >= 7
    for mutant in known.values():
        assert mutant.breaks
        assert mutant.source or is_control(mutant)
        assert bool(mutant.shows or mutant.says) is not is_control(mutant)
        assert expected_damage(mutant) or mutant.says or is_control(mutant)
        re.compile(mutant.says)


def test_no_two_mutants_have_the_same_id() -> None:
    ids = [
        found[1]
        for path in sorted(MUTANTS.glob("*.py"))
        for found in re.finditer(r'^    id = "([a-z0-9-]+)"', path.read_text(), re.MULTILINE)
    ]
    assert len(ids) >= len(catalogue())
    assert sorted(one for one in set(ids) if ids.count(one) > 1) == []


def test_no_two_rows_of_the_list_of_bugs_have_the_same_id() -> None:
    rows = re.findall(r"^\| `([a-z0-9-]+)` \|", (ROOT / "docs/bugs.md").read_text(), re.MULTILINE)
    assert sorted(one for one in set(rows) if rows.count(one) > 1) == []


def passes_on(mutant: Mutant, *requests: Request) -> list[bool]:
    """Return for each request whether the mutant passes it on."""
    passed: list[Request] = []

    def below(request: Request) -> Reply:
        passed.append(request)
        return Reply()

    for request in requests:
        mutant.handle(request, below)
    return [request in passed for request in requests]


def fates(mutant: Mutant, count: int) -> list[bool]:
    """Return for each of so many writes whether the mutant passes it on."""
    return passes_on(mutant, *(Request(Command.WRITE, 0, 0, 1, 1, b"x") for _ in range(count)))


def test_the_same_seed_strikes_at_the_same_occasions() -> None:
    one = fates(PhantomWrite(rate="3", seed="7"), 60)
    assert one == fates(PhantomWrite(rate="3", seed="7"), 60)
    assert one != fates(PhantomWrite(rate="3", seed="8"), 60)
    assert 5 < one.count(False) < 40


def test_after_spares_the_first_occasions() -> None:
    assert fates(PhantomWrite(rate="1", after="4"), 6) == [True] * 4 + [False] * 2


def test_a_wrong_knob_is_refused() -> None:
    with pytest.raises(ValueError, match="rate=0: must be a whole number"):
        PhantomWrite(rate="0")


def test_blocks_of_a_range() -> None:
    assert list(blocks(4095, 2)) == [0, 1]
    assert list(whole_blocks(4095, 8194)) == [1, 2]
    assert not whole_blocks(1, 8000) or list(whole_blocks(1, 8000)) == []


def _reply(error: int, request: Request) -> Reply:
    return Reply(error)


class _FailedRead(ReplyMutant):
    commands = (Command.READ,)
    damaged = 0

    def damages_reply(self, request: Request, reply: Reply) -> bool:
        return reply.error != 0

    def damage_reply(self, request: Request, reply: Reply) -> None:
        self.damaged += 1


def test_a_reply_without_damage_is_no_occasion() -> None:
    mutant = _FailedRead(after="1")
    request = Request(Command.READ, 0, 0, 512, 1)
    for error in (0, 0, 5, 0, 5):
        mutant.handle(request, functools.partial(_reply, error))
    assert mutant.damaged == 1


def test_a_reply_to_another_command_is_not_damaged() -> None:
    mutant = _FailedRead()
    mutant.handle(Request(Command.FLUSH, 0, 0, 0, 1), lambda _: Reply(5))
    assert mutant.damaged == 0
