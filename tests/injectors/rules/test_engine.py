"""The engine and the readers, alone."""

from __future__ import annotations

import errno
from collections.abc import Iterable

import pytest

from injectors.rules import parse_ini
from injectors.rules.compile import to_blockdev
from injectors.rules.engine import Engine
from injectors.rules.errors import NotExpressible, RuleSyntaxError
from injectors.rules.events import EVENTS, IoType
from injectors.rules.model import Rule, RuleSet, SetState, errno_number, error_rule, point, sectors
from tests.injectors import conftest


def engine_of(*rules: Rule, states: Iterable[SetState] = (), seed: int = 0) -> Engine:
    return Engine(RuleSet(rules, tuple(states)), seed)


def errno_of(engine: Engine, iotype: IoType, offset: int, length: int) -> int:
    met = engine.decide(iotype, offset, length)
    return conftest.errno_of(met.rule) if met else 0


def test_blkdebug_has_48_events() -> None:
    assert len(EVENTS) == 48


def test_a_rule_is_inactive_until_its_event() -> None:
    engine = engine_of(error_rule("read_aio", errno=errno.ENOSPC))
    assert errno_of(engine, IoType.READ, 0, 512) == 0
    engine.on_event("read_aio")
    assert errno_of(engine, IoType.READ, 0, 512) == errno.ENOSPC


def test_an_active_rule_stays_until_another_event_matches() -> None:
    engine = engine_of(error_rule("read_aio"), error_rule("write_aio", errno=28))
    engine.on_event("read_aio")
    assert errno_of(engine, IoType.WRITE, 0, 512) == errno.EIO
    engine.on_event("write_aio")
    assert errno_of(engine, IoType.WRITE, 0, 512) == 28


def test_rules_of_an_event_see_the_state_from_before_it() -> None:
    engine = engine_of(error_rule("read_aio", state=2), states=[SetState("read_aio", 2, state=1)])
    engine.on_event("read_aio")
    assert errno_of(engine, IoType.READ, 0, 512) == 0
    engine.on_event("read_aio")
    assert errno_of(engine, IoType.READ, 0, 512) == errno.EIO


def test_the_first_of_two_state_changes_wins() -> None:
    engine = engine_of(states=[SetState("read_aio", 5), SetState("read_aio", 6)])
    engine.on_event("read_aio")
    assert engine.state == 5


def test_once_ends_a_rule_when_it_injects_and_errno_0_never_injects() -> None:
    engine = engine_of(error_rule("none", errno=0, once=True), error_rule("none"))
    assert [errno_of(engine, IoType.READ, 0, 1) for _ in range(3)] == [0, 0, 0]
    engine = engine_of(error_rule("none", once=True))
    assert [errno_of(engine, IoType.READ, 0, 1) for _ in range(3)] == [5, 0, 0]


@pytest.mark.parametrize(
    ("offset", "length", "hit"),
    [
        (0, 512, False),
        (0, 513, True),
        (512, 1, True),
        (1024, 512, False),
        (700, 10, False),
        (512, 0, False),
    ],
)
def test_a_sector_means_its_first_byte(offset: int, length: int, hit: bool) -> None:
    engine = engine_of(error_rule("none", spans=(point(1),)))
    assert bool(errno_of(engine, IoType.READ, offset, length)) is hit


def test_a_flush_never_matches_a_sector() -> None:
    assert errno_of(engine_of(error_rule("none", spans=(point(0),))), IoType.FLUSH, 0, 0) == 0


def test_after_every_and_count_pick_the_faults() -> None:
    engine = engine_of(error_rule("none", after=2, every=3, count=2))
    hits = [bool(errno_of(engine, IoType.READ, 0, 1)) for _ in range(12)]
    assert [n for n, hit in enumerate(hits) if hit] == [2, 5]


def test_the_same_seed_gives_the_same_faults_and_another_seed_others() -> None:
    def hits(seed: int) -> list[int]:
        engine = engine_of(error_rule("none", probability=0.5), seed=seed)
        return [errno_of(engine, IoType.READ, 0, 1) for _ in range(64)]

    assert hits(1) == hits(1) != hits(2)
    assert 16 < sum(map(bool, hits(1))) < 48


def test_a_rule_draws_the_same_whatever_other_rules_draw() -> None:
    def hits(*others: Rule) -> list[bool]:
        engine = engine_of(error_rule("none", probability=0.5, errno=28), *others, seed=3)
        return [errno_of(engine, IoType.READ, 0, 1) == 28 for _ in range(64)]

    assert hits() == hits(error_rule("none", probability=0.5))


def test_a_conf_is_read_and_written_back() -> None:
    text = '[inject-error]\nevent = "read_aio"\nerrno = "28"\nstate = "2"\n'
    text += 'sector = "7"\nonce = "on"\n'
    text += '\n[set-state]\nevent = "write_aio"\nstate = "1"\nnew_state = "2"\n'
    rules = parse_ini.read(text)
    assert rules.rules == (error_rule("read_aio", 28, state=2, spans=(point(7),), once=True),)
    assert rules.states == (SetState("write_aio", 2, state=1),)
    assert parse_ini.read(parse_ini.write(rules)) == rules


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[inject-eror]\n", "conf:1: .*inject-error"),
        ('[inject-error]\nerrno = "5"\n', "conf:1: .*event is required"),
        ('[inject-error]\nevent = "reed"\n', "conf:2: .*read_aio"),
        ('[inject-error]\nevent = "none"\nerrno = "ENOSPC"\n', "conf:3: .*not a number"),
        ('[inject-error]\nevent = "none"\nonse = "on"\n', "conf:3: .*once"),
        ("event = none\n", "conf:1: .*expected"),
        ('event = "none"\n', "conf:1: .*before any"),
        ('[inject-error]\nevent = "none"\niotype = "all"\n', "conf:3: .*write-zeroes"),
    ],
)
def test_a_wrong_conf_names_line_and_what_is_allowed(text: str, message: str) -> None:
    with pytest.raises(RuleSyntaxError, match=message):
        parse_ini.read(text, "conf")


def test_what_blkdebug_lacks_is_refused() -> None:
    for rule in (error_rule("none", probability=0.5), error_rule("none", spans=(sectors(1, 9),))):
        with pytest.raises(NotExpressible, match=r"rule none: QEMU.s blkdebug has no"):
            to_blockdev(RuleSet((rule,)), "node")
        with pytest.raises(NotExpressible, match=r"rule none: QEMU.s blkdebug has no"):
            parse_ini.write(RuleSet((rule,)))


def test_errno_by_name_and_number() -> None:
    assert errno_number("ENOSPC") == errno_number("28") == errno_number(28) == 28
    with pytest.raises(ValueError, match="ENOPE"):
        errno_number("ENOPE")
