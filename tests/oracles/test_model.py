"""The model accepts a correct volume, and returns findings for a wrong one."""

from __future__ import annotations

import errno
from collections.abc import Sequence

import pytest

from blockio.extents import STATE_ZERO, Extent
from oracles.damage import Damage, What
from oracles.model import Model, StepFailed, Wrong
from oracles.scripts import STEPS, Step
from oracles.stamps import Data

SIZE = 16 << 10
WRITE, READ = Step("write", 0, 4096), Step("read", 0, 4096)


class Memory:
    """A volume in memory without a cache; subclasses spoil one thing."""

    abilities = frozenset({*STEPS, "fua"})

    def __init__(self) -> None:
        self.data = bytearray()
        self.snapshots: list[bytes] = []
        self.faults: dict[str, list[int]] = {}
        self.done: list[Step] = []

    def reset(self, size: int, data: bytes) -> None:
        self.data = bytearray(data)
        assert len(data) == size

    def do(self, step: Step, data: bytes) -> Data | Sequence[Extent] | None:
        self.done.append(step)
        if self.faults.get(step.do):
            raise StepFailed(self.faults[step.do].pop(0))
        place = slice(step.offset, step.offset + step.length)
        match step.do:
            case "write":
                self.data[place] = data
            case "zero":
                self.data[place] = bytes(step.length)
            case "fault":
                self.faults.setdefault(step.kind, []).append(getattr(errno, step.errno))
            case "kill":
                self.faults.clear()
            case "resize":
                self.data = self.data[: step.size].ljust(step.size, b"\0")
            case "snapshot":
                self.snapshots.append(bytes(self.data))
            case "read":
                return bytes(self.data[place])
            case "status":
                return self.status(step)
        return None

    def status(self, step: Step) -> Sequence[Extent]:
        return [Extent(step.length, 0)] if step.length else []

    def read_snapshot(self, number: int) -> Data | None:
        return self.snapshots[number]


def play(player: Memory, *steps: Step) -> Model:
    model = Model(player, SIZE, 7)
    for step in steps:
        model.step(step)
    model.finish()
    return model


def only_finding(player: Memory, *steps: Step) -> tuple[Damage, str]:
    """Play steps that are wrong; return the damage of the only finding and the message."""
    with pytest.raises(Wrong) as failure:
        play(player, *steps)
    (finding,) = failure.value.findings
    return finding.damage, str(failure.value)


def test_a_volume_that_is_right_is_not_accused() -> None:
    play(
        Memory(), WRITE, READ, Step("zero", 512, 1000, fua=True), Step("discard", 8192, 4096),
        Step("flush"), Step("snapshot"), Step("write", 100, 50, fua=True), Step("power-cut"),
        Step("status", 0, SIZE), Step("status", 0, 0), Step("reopen"), Step("reconnect"),
        Step("resize", size=SIZE + 512), Step("kill"), Step("read", 0, SIZE + 512),
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["write", "zero", "flush", "read"])
def test_an_injected_error_is_expected_once(kind: str) -> None:
    place = () if kind == "flush" else (0, 4096)
    play(Memory(), Step("fault", kind=kind, errno="ENOSPC"), Step(kind, *place), WRITE, READ)


def test_the_fault_of_a_read_is_expected_at_the_final_read() -> None:
    play(Memory(), Step("fault", kind="read", errno="EIO"), Step("snapshot"))


def test_faults_are_disarmed_when_the_server_is_killed() -> None:
    play(Memory(), Step("fault", kind="write", errno="EIO"), Step("kill"), WRITE)


def test_a_flush_meets_its_fault_before_a_resize() -> None:
    player = Memory()
    play(player, Step("fault", kind="flush", errno="EIO"), Step("resize", size=SIZE))
    assert [step.do for step in player.done[:3]] == ["fault", "flush", "resize"]


def test_fua_may_meet_the_fault_of_a_flush() -> None:
    class ByFlush(Memory):
        def do(self, step: Step, data: bytes) -> Data | Sequence[Extent] | None:
            if step.fua and self.faults.get("flush"):
                raise StepFailed(self.faults["flush"].pop(0))
            return super().do(step, data)

    play(ByFlush(), Step("fault", kind="flush", errno="EIO"), Step("write", 0, 512, fua=True))


def test_fua_is_left_out_where_the_volume_has_none() -> None:
    class Without(Memory):
        abilities = frozenset(STEPS)

    player = Without()
    play(player, Step("write", 0, 512, fua=True))
    assert not player.done[0].fua


def test_a_write_that_is_not_done_was_never_written() -> None:
    class Noop(Memory):
        def do(self, step: Step, data: bytes) -> Data | Sequence[Extent] | None:
            return None if step.do == "write" else super().do(step, data)

    damage, text = only_finding(Noop(), WRITE, READ)
    assert damage is Damage.NEVER_WRITTEN
    assert text.startswith("read 0+4096:\noffset 0 (0x0), sectors 0-7, 4096 bytes: never written")


def test_a_short_answer_has_the_wrong_length() -> None:
    class Short(Memory):
        def do(self, step: Step, data: bytes) -> Data | Sequence[Extent] | None:
            return b"" if step.do == "read" else super().do(step, data)

    damage, text = only_finding(Short(), READ)
    assert (damage, text) == (
        Damage.LENGTH, "read 0+4096: 0 bytes returned, 4096 requested"
    )  # fmt: skip


def test_an_error_that_was_not_injected() -> None:
    player = Memory()
    player.faults["write"] = [errno.EIO]
    damage, text = only_finding(player, WRITE)
    assert (damage, text) == (
        Damage.ERROR, "write 0+4096: failed with EIO, and no fault was armed"
    )  # fmt: skip


def test_another_error_than_the_injected_one() -> None:
    class Collapses(Memory):
        def do(self, step: Step, data: bytes) -> Data | Sequence[Extent] | None:
            try:
                return super().do(step, data)
            except StepFailed:
                raise StepFailed(errno.EINVAL) from None

    fault = Step("fault", kind="write", errno="ENOSPC")
    damage, text = only_finding(Collapses(), fault, WRITE)
    assert damage is Damage.ERROR
    assert text.endswith("failed with EINVAL, ENOSPC was due")


def test_an_injected_error_that_is_swallowed() -> None:
    class Swallows(Memory):
        def do(self, step: Step, data: bytes) -> Data | Sequence[Extent] | None:
            return None if step.do == "fault" else super().do(step, data)

    with pytest.raises(Wrong) as failure:
        play(Swallows(), Step("fault", kind="write", errno="EIO"), WRITE)
    (finding,) = failure.value.findings
    assert (finding.damage, finding.request) == (Damage.ERROR, "write 0+4096")
    assert finding.expected is not None
    assert (finding.expected.what, finding.expected.number) == (What.ERROR, errno.EIO)
    assert str(failure.value.within("step 2: ")).startswith("step 2: write 0+4096: success")
    assert failure.value.within("x").findings == [finding]


@pytest.mark.parametrize(
    ("extents", "message"),
    [
        ([], "no extent"),
        ([Extent(0, 0)], "extent"),
        ([Extent(4096, 0), Extent(1, 0)], "the range ends at 4096"),
        ([Extent(4096, STATE_ZERO)], "said to read as zeroes at 0+4096"),
        ([Extent(4096 + 1, STATE_ZERO)], "said to read as zeroes at 0+4096"),
    ],
)
def test_a_block_status_that_is_false(extents: list[Extent], message: str) -> None:
    class Lies(Memory):
        def status(self, step: Step) -> Sequence[Extent]:
            return extents

    damage, text = only_finding(Lies(), WRITE, Step("status", 0, 4096))
    assert damage is Damage.STATUS
    assert message in text


@pytest.mark.parametrize(
    ("snapshot", "damage"),
    [
        (bytes(SIZE), Damage.ZEROED),
        (bytes(512), Damage.SIZE),
        (StepFailed(errno.EIO), Damage.ERROR),
    ],
)
def test_a_snapshot_that_is_wrong(snapshot: bytes | StepFailed, damage: Damage) -> None:
    class Bad(Memory):
        def read_snapshot(self, number: int) -> Data | None:
            if isinstance(snapshot, StepFailed):
                raise snapshot
            return snapshot

    found, text = only_finding(Bad(), Step("snapshot"))
    assert found is damage
    assert text.startswith("snapshot 1:")


def test_a_snapshot_that_cannot_be_read_is_not_judged() -> None:
    class Unreadable(Memory):
        def read_snapshot(self, number: int) -> Data | None:
            return None

    play(Unreadable(), Step("snapshot"))


def test_a_failure_without_a_name_shows_its_number() -> None:
    assert str(StepFailed(5, "text")) == "EIO text"
    assert str(StepFailed(9999)) == "9999"
