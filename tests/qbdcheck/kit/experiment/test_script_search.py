"""The smallest script: found by plays of a backend that is described by a function."""

from collections.abc import Callable

from oracles.damage import Damage
from oracles.scripts import Script, Step
from qbdcheck.kit.experiment.outcomes import FAILS, OTHER, RIGHT, SOMETIMES, Judge, Played
from qbdcheck.kit.experiment.script_search import first_failing, smallest

MIB = 1 << 20
WRONG = Played(Damage.ZEROED, 0, "zeroed")


def judge(fails: Callable[[Script], bool]) -> Judge:
    return Judge(lambda one: WRONG if fails(one) else Played(), Damage.STALE, lambda: False)


def test_all_that_is_not_needed_is_left_out() -> None:
    def fails(script: Script) -> bool:
        kinds = [step.do for step in script.steps]
        return "discard" in kinds and "write" in kinds[kinds.index("discard") :]

    steps = (
        Step("flush"),
        Step("discard", 40 * MIB, 4096, fua=True, connection=2),
        Step("read", 0, 512),
        Step("write", 40 * MIB + 512, 512, fill=1),
    )
    found = smallest(Script(64 * MIB, steps, prefill=False), judge(fails))
    assert found.prefill
    assert found.size < 4 * MIB
    assert [step.do for step in found.steps] == ["discard", "write"]
    assert found.steps[0].offset == found.steps[1].offset, "the steps touch"
    assert not any(step.fua or step.fill >= 0 or step.connection > 1 for step in found.steps)


def test_the_prefill_may_be_what_goes_wrong() -> None:
    def fails(script: Script) -> bool:
        is_long = any(one.do == "write" and one.length >= MIB for one in script.steps)
        return (script.prefill or is_long) and script.steps[-1].do == "kill"

    found = smallest(Script(MIB, (Step("flush"), Step("kill"))), judge(fails))
    assert not found.prefill
    assert [step.do for step in found.steps] == ["write", "kill"]


def test_a_script_whose_zeroes_need_no_hole_is_found() -> None:
    def fails(script: Script) -> bool:
        return any(one.no_hole for one in script.steps)

    script = Script(MIB, (Step("zero", 0, 512),))
    found = first_failing([("short", script)], judge(fails))
    assert found is not None
    assert found[1].steps == (Step("zero", 0, 512, no_hole=True),)


def test_the_seeds_of_a_power_cut_are_tried() -> None:
    def fails(script: Script) -> bool:
        return script.steps[-1].seed == 7

    script = Script(MIB, (Step("power-cut", seed=5),))
    one = judge(fails)
    found = one.tried(script)
    assert found is not None
    assert found.outcome == FAILS
    assert one.with_failing_seed(script).steps == (Step("power-cut", seed=7),)


def test_what_is_right_once_and_fails_then_is_not_right() -> None:
    outcomes = iter([Played(), WRONG, Played(), Played()])
    one = Judge(lambda _: next(outcomes), Damage.STALE, lambda: False)
    first = one.tried(Script(MIB, (Step("flush"),)))
    second = one.tried(Script(MIB, (Step("flush"), Step("flush"))))
    assert first is not None
    assert second is not None
    assert (first.outcome, second.outcome) == (SOMETIMES, RIGHT)


def test_damage_of_another_kind_is_neither_failure_nor_right() -> None:
    refused = Played(Damage.ERROR, 1, "Invalid argument")
    one = Judge(lambda _: refused, Damage.STALE, lambda: False)
    found = one.tried(Script(MIB, (Step("flush"),)))
    assert found is not None
    assert found.outcome == OTHER


def test_nothing_is_played_when_the_time_is_over() -> None:
    one = Judge(lambda _: WRONG, Damage.STALE, lambda: True)
    assert one.tried(Script(MIB, (Step("flush"),))) is None
    assert first_failing([("short", Script(MIB, (Step("flush"),)))], one) is None
