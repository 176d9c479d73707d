"""An experiment with the volume of the reference backend in this process, and a planted bug."""

from collections.abc import Callable

import pytest

from blockio.layers import Below, Command, Layer, Reply, Request
from oracles.damage import Content, Damage, What
from oracles.finding import Finding
from oracles.life import IN_FLIGHT, Moment
from oracles.model import Wrong
from oracles.scripts import Script, Step
from qbdcheck.kit.experiment.bench import saw_of
from qbdcheck.kit.experiment.experiment import (
    NOT_REPRODUCED,
    REPRODUCED,
    Experiment,
    candidates,
    lacking,
    not_tried,
)
from qbdcheck.kit.experiment.outcomes import Played, kind_of
from qbdcheck.kit.experiment.variants import of_requests
from qbdcheck.kit.model.players import InProcess
from qbdcheck.kit.model.replay import play

KIB = 1024


class InThisProcess:
    """The bench of an experiment, without a server."""

    alignment = 1

    def __init__(self, bug: Callable[[], Layer] | None) -> None:
        self.player = InProcess(bug)
        self.abilities = self.player.abilities - {"power-cut", "snapshot", "resize"}

    def play(self, script: Script) -> Played:
        try:
            play(script, self.player)
        except Wrong as wrong:
            return Played(kind_of(wrong.findings[0]), 0, str(wrong), saw=saw_of(wrong))
        return Played()


class ZeroesLongFuaWrites:
    """Loses the first 512 bytes of writes with FUA of 32 KiB and more."""

    def handle(self, request: Request, below: Below) -> Reply:
        if request.command is Command.WRITE and request.flags & 1 and request.length >= 32 * KIB:
            below(request)
            return below(Request(Command.WRITE_ZEROES, 0, request.offset, 512, 1, b"", 1))
        return below(request)


SCRIPT = Script(
    1 << 20,
    (
        Step("discard", 65536, 4096),
        Step("write", 0, 4096),
        Step("write", 131072, 65536, fua=True),
        Step("flush"),
        Step("read", 0, 4096),
        Step("zero", 300000, 1000, no_hole=True),
    ),
)


def experiment(bug: Callable[[], Layer] | None) -> Experiment:
    bench = InThisProcess(bug)
    return Experiment(bench, Damage.ZEROED, limit_s=60.0)  # type: ignore[arg-type]


def test_a_failure_is_made_small_and_its_conditions_are_found() -> None:
    made = experiment(ZeroesLongFuaWrites).run([("the requests", SCRIPT)])
    assert made.outcome == REPRODUCED
    assert (made.failed, made.plays) == (3, 3)
    saw = made.saw.splitlines()
    assert saw[0].startswith("at the end: read 0+")
    assert saw[1].startswith("offset 65536 (0x10000), sector 128, 512 bytes: zeroed, expected")
    assert saw[2].startswith("first difference at byte 65536: expected ")
    assert saw[2].endswith("seen 00000000 00000000 00000000 00000000")
    assert made.steps == ("write 65,536 bytes at offset 65,536, with FUA",)
    needed = "\n".join(made.needed)
    assert "with FUA (passes: without FUA)" in needed
    assert "it is at least 32,768 bytes long (32,767: right)" in needed
    assert "a write (passes: write zeroes instead, a discard instead)" in needed
    assert "a flush (before the check at the end)" in made.indifferent
    assert not made.unclear
    assert made.is_complete


def test_a_right_volume_is_not_accused() -> None:
    made = experiment(None).run([("the requests", SCRIPT)])
    assert made.outcome == NOT_REPRODUCED
    assert not made.needed + made.indifferent + made.steps
    assert "did not fail" in made.sentence


class BySometimes:
    """Loses every second write."""

    def __init__(self) -> None:
        self.count = 0

    def handle(self, request: Request, below: Below) -> Reply:
        self.count += request.command is Command.WRITE and request.length == 65536
        if request.command is Command.WRITE and request.length == 65536 and self.count % 2:
            return Reply()
        return below(request)


def test_what_fails_sometimes_is_no_condition() -> None:
    bug = BySometimes()
    made = experiment(lambda: bug).run([("the requests", SCRIPT)])
    assert made.outcome == REPRODUCED
    assert made.failed < made.plays
    assert "timing or chance" in made.sentence
    assert not made.needed + made.indifferent


class EachFifthIsLost:
    """Loses each fifth write of a volume."""

    def __init__(self) -> None:
        self.count = 0

    def handle(self, request: Request, below: Below) -> Reply:
        self.count += request.command is Command.WRITE
        if request.command is Command.WRITE and self.count % 5 == 0:
            return Reply()
        return below(request)


def test_a_bug_that_counts_requests_has_no_other_condition() -> None:
    steps = tuple(Step("write", place * 4096, 4096) for place in range(8))
    made = experiment(EachFifthIsLost).run([("the requests", Script(1 << 20, steps))])
    assert made.outcome == REPRODUCED
    assert made.sentence.startswith("Tried again on fresh volumes: these ")
    assert "depends on chance or on the number of requests" in made.sentence
    assert not made.needed + made.indifferent
    assert "the bug strikes by chance, or it counts requests" in made.unclear[0]
    assert "further writes to another place before the steps, it failed in" in made.unclear[0]


def test_zeroes_on_an_empty_volume_are_no_variant() -> None:
    write = Step("write", 0, 4096)
    empty = Script(1 << 20, (write,), prefill=False)
    twice = Script(1 << 20, (write, Step("write", 0, 512)), prefill=False)
    abilities = frozenset({"write", "zero", "discard"})
    found = {
        script: [
            (one.step, one.change) for one in of_requests(script, abilities) if one.factor == "kind"
        ]
        for script in (empty, twice)
    }
    assert found[empty] == []
    assert found[twice] == [(2, "write zeroes instead"), (2, "a discard instead")]


class LongReadsAreWrong:
    """Returns zeroes at the end of reads of 256 KiB and more."""

    def handle(self, request: Request, below: Below) -> Reply:
        reply = below(request)
        if request.command is Command.READ and request.length >= 256 * KIB:
            reply.data = bytes(reply.data[:-512]) + bytes(512)
        return reply


def test_nothing_is_claimed_if_the_check_itself_fails() -> None:
    script = Script(1 << 20, (Step("write", 0, 4096),))
    made = experiment(LongReadsAreWrong).run([("the requests", script)])
    assert made.outcome == REPRODUCED
    assert not made.needed + made.indifferent
    assert "without any of the steps it fails too" in made.unclear[0]


@pytest.mark.parametrize(
    ("remark", "is_shown"),
    [
        ("block status: 512 bytes at 0 are called zero, but have data", True),
        ("block status: 512 bytes at 0 have flags 0x3 (hole, zero), expected flags 0x0", True),
        ("block status of [0, 512): a hole, after WRITE_ZEROES with NO_HOLE", False),
        ("qbd:dirty after the writes: [0, 512) changed, but is clean", False),
    ],
)
def test_a_script_shows_only_data_that_is_called_zero(remark: str, is_shown: bool) -> None:
    finding = Finding(Damage.STATUS, 0, 512, remark=remark)
    assert candidates([finding], None) == (Damage.STATUS, [])  # nothing was recorded
    reason = "the requests before the failure were not recorded"
    other = "a script can show data that is called zero, and no other wrong block status"
    assert not_tried([finding]).sentence == f"Not tried again: {reason if is_shown else other}."


def test_what_the_case_had_and_no_script_has_is_named() -> None:
    def found(*life: Moment, expected: What = What.STAMP) -> Finding:
        return Finding(Damage.STALE, 0, 512, expected=Content(expected), life=life)

    together = Moment("write", 1, 0, 512, text=f"write{IN_FLIGHT}")
    fault, snapshot = Moment("fault"), Moment("snapshot", text="snapshot s was taken")
    assert lacking([]) == lacking([found(Moment("write", 1, 0, 512))]) == []
    assert lacking([found(together, fault)]) == [
        "requests in flight together",
        "faults and requests that failed",
    ]
    assert lacking([found(snapshot, expected=What.DATA)]) == [
        "snapshots or clones",
        "other contents than the stamps of a script",
    ]
    told = experiment(None).run([("the requests", SCRIPT)], ["snapshots or clones"]).sentence
    assert "The case had what these steps do not have: snapshots or clones. The failure may" in told
