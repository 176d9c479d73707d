import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from injectors.layer import create
from oracles.damage import Damage, Verdict, error
from oracles.dual_write import DualWrite, Stopped
from oracles.finding import Finding
from oracles.life import DIFFERED, NOT_JUDGED
from oracles.mismatches import Difference, render
from oracles.shadow import Shadow
from oracles.sides import InOrder, Layered, Outcome, Side
from oracles.stamps import Identity
from oracles.workload import EVERYDAY, FSX, Batch, Kind, Mix, Request, generate
from reference_backend.store.memory import MemoryStore
from reference_backend.store.volume import Volume

SIZE = 256 << 10
ME = Identity.of("run", "vol")


def pair(size: int = SIZE, rules: str | None = None, **options: bool) -> DualWrite:
    """Two volumes in memory, prefilled, with rules under the target."""
    shadow = Shadow(size, ME)
    data = shadow.prefill().tobytes()
    volumes = [Volume(MemoryStore(size)) for _ in range(2)]
    for volume in volumes:
        volume.write(0, data)
    target: Side = InOrder(volumes[1])
    if rules is not None:
        target = Layered(target, create(f"rules: [{rules}]", seed=0))
    return DualWrite(InOrder(volumes[0]), target, shadow, **options)


def below(dual: DualWrite) -> Volume:
    """Return the volume of the target, read in a second way."""
    side = dual.target
    plain = side.side if isinstance(side, Layered) else side
    assert isinstance(plain, InOrder)
    assert isinstance(plain.disk, Volume)
    return plain.disk


def one(number: int, kind: Kind, offset: int = 0, length: int = 0, **flags: bool) -> Batch:
    return (Request(number, kind, offset, length, **flags),)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("depth", [1, 7, 64])
def test_two_right_volumes_never_differ(seed: int, depth: int) -> None:
    mix = Mix({**EVERYDAY, Kind.STATUS: 1}, depth=depth, overlap=depth == 7, longest=20_000)
    dual = pair()
    assert dual.run(generate(random.Random(seed), SIZE, 300, mix)) == []
    assert dual.verify() == []
    assert dual.catch_up().check(0, below(dual).read(0, SIZE)) == []


@pytest.mark.parametrize("seed", range(8))
def test_sizes_that_go_up_and_down_never_differ(seed: int) -> None:
    dual = pair(SIZE + 17)
    dual.run(generate(random.Random(seed), SIZE + 17, 300, Mix(FSX, longest=9000)))
    dual.verify()
    assert dual.mismatches == []


def test_a_discard_that_only_one_side_does_is_no_mismatch_and_is_agreed_on() -> None:
    dual = pair(rules="{event: none, iotype: discard, action: drop}")
    dual.run([one(1, Kind.DISCARD, 4096, 4096), one(2, Kind.READ, 0, 16384)])
    assert dual.mismatches == []
    below(dual).write_zeroes(4096, 4096)
    assert [m.damage for m in dual.verify()] == ["zeroed"]


def test_where_discards_promise_zeroes_a_discard_that_does_nothing_is_a_mismatch() -> None:
    dual = pair(rules="{event: none, iotype: discard, action: drop}", discard_reads_zero=True)
    (mismatch,) = dual.run([one(1, Kind.DISCARD, 4096, 4096), one(2, Kind.READ, 0, 16384)])
    assert (mismatch.side, mismatch.offset, mismatch.length) == ("target", 4096, 4096)
    assert mismatch.last_write == "#1 discard 4096+4096"


def test_overlapping_writes_in_any_order_are_no_mismatch() -> None:
    dual = pair()
    batch = (Request(1, Kind.WRITE, 0, 8192), Request(2, Kind.WRITE, 4096, 8192))
    dual.step(batch)
    # The target did them the other way round.
    reads = below(dual).read(0, 12288)
    dual.target.start((batch[0],), [dual._data(batch[0], 1)])
    assert below(dual).read(0, 12288) != reads
    assert dual.verify() == []


@pytest.mark.parametrize("side", ["reference", "target"])
def test_the_side_that_is_wrong_is_blamed(side: str) -> None:
    dual = pair()
    dual.step(one(1, Kind.WRITE, 8192, 4096))
    getattr(dual, side).disk.write(9000, b"\0")
    (mismatch,) = dual.verify()
    assert mismatch.side == side
    assert mismatch.sector == 17
    assert mismatch.last_write == "#1 write 8192+4096"
    assert mismatch.reference != mismatch.target
    assert mismatch.target[1:] == mismatch.reference[1:]


def test_all_mismatches_are_found_each_once() -> None:
    dual = pair(rules="{event: write_aio, action: drop}")
    dual.run([one(n, Kind.WRITE, n * 8192, 512) for n in range(1, 11)])
    dual.run([one(20 + n, Kind.READ, n * 8192, 512) for n in range(1, 11)])
    dual.verify()
    assert [m.last_write for m in dual.mismatches] == [
        f"#{n} write {n * 8192}+512" for n in range(1, 11)
    ]
    assert "and 7 more; 5120 bytes" in render(dual.mismatches, limit=3)


def test_it_stops_at_the_first_mismatch_on_request() -> None:
    dual = pair(rules="{event: write_aio, action: drop}", stop_at_first=True)
    with pytest.raises(Stopped, match="never written"):
        dual.run([one(1, Kind.WRITE, 0, 4096), one(2, Kind.READ, 0, 4096)])
    assert len(dual.mismatches) == 1


def test_an_error_of_one_side_is_a_mismatch_and_leaves_old_or_new() -> None:
    dual = pair(rules="{event: write_aio, errno: ENOSPC, once: true}")
    (mismatch,) = dual.run([one(1, Kind.WRITE, 512, 512), one(2, Kind.READ, 0, 4096)])
    assert mismatch.difference is Difference.ERROR
    assert "reference: success; target: No space left on device" in mismatch.text
    assert dual.verify() == []


def test_equal_failures_are_no_mismatch_and_different_errnos_only_on_request() -> None:
    beyond = [one(1, Kind.READ, SIZE - 512, 1024), one(2, Kind.WRITE, SIZE, 512)]
    assert pair().run(beyond) == []
    rules = "{event: read_aio, iotype: read, errno: EIO}"
    assert pair(rules=rules).run(beyond) == []
    (mismatch,) = pair(rules=rules, same_errno=True).run(beyond)
    assert (mismatch.side, mismatch.difference) == ("both", Difference.ERROR)


class Short(InOrder):
    """A side whose reads lack their last bytes."""

    def finish(self) -> list[Outcome]:
        return [Outcome(o.error, o.data[:-100], o.extents) for o in super().finish()]


def test_a_short_read_is_a_mismatch_of_lengths() -> None:
    dual = pair()
    dual.target = Short(below(dual))
    (mismatch,) = dual.run([one(1, Kind.READ, 0, 4096)])
    assert mismatch.difference is Difference.LENGTH
    assert (mismatch.side, mismatch.offset, mismatch.length) == ("target", 3996, 100)


def test_a_size_that_differs_is_a_mismatch_at_once_and_after_a_resize() -> None:
    dual = pair()
    below(dual).resize(SIZE - 512)
    again = DualWrite(dual.reference, dual.target, Shadow(SIZE, ME))
    assert [(m.difference, m.side) for m in again.mismatches] == [(Difference.SIZE, "target")]


def test_false_claims_of_zeroes_are_named_and_true_ones_are_not() -> None:
    dual = pair()
    dual.step(one(1, Kind.ZERO, 4096, 4096))
    assert dual.run([one(2, Kind.STATUS, 0, SIZE)]) == []
    below(dual).write_zeroes(65536, 65536)
    found = dual.run([one(3, Kind.STATUS, 65536, 65536)])
    assert {(m.difference, m.side) for m in found} == {(Difference.STATUS, "target")}


WRITE = one(1, Kind.WRITE, 8192, 4096)
FAULTS: dict[str, tuple[Callable[[Volume], None], str]] = {
    "lost": (lambda v: v.write(8192, Shadow(SIZE, ME).prefill().tobytes()[8192:12288]),
             "never written"),
    "zeroed": (lambda v: v.write_zeroes(8192, 4096), "zeroed"),
    "bit flip": (lambda v: v.write(8200, bytes([v.read(8200, 1)[0] ^ 4])), "bit flip"),
    "shifted": (lambda v: v.write(8192, v.read(8193, 4095) + b"x"), "shifted"),
    "misdirected": (lambda v: v.write(65536, v.read(8192, 4096)), "misdirected"),
    "swapped": (lambda v: _swap(v, 8192, 32768), "swapped"),
    "torn": (lambda v: v.write(8192 + 200, Shadow(SIZE, ME).prefill().tobytes()[8392:8704]),
             "torn"),
}  # fmt: skip


def _swap(volume: Volume, one_place: int, other: int) -> None:
    first, second = volume.read(one_place, 512), volume.read(other, 512)
    volume.write(one_place, second)
    volume.write(other, first)


@pytest.mark.parametrize("name", FAULTS)
def test_each_kind_of_damage_gets_its_name(name: str) -> None:
    dual = pair()
    dual.step(WRITE)
    damage, word = FAULTS[name]
    damage(below(dual))
    assert word in {m.damage for m in dual.verify()}


def test_mismatches_are_findings_that_name_side_and_request() -> None:
    dual = pair(rules="{event: read_aio, errno: EIO}")
    assert int(dual.findings.verdict) == Verdict.UNJUDGED
    dual.step(one(1, Kind.READ, 4096, 512))
    (finding,) = dual.findings
    assert (finding.damage, finding.side, finding.request) == (
        Damage.ERROR, "target", "#1 read 4096+512"
    )  # fmt: skip
    assert finding.line == str(dual.mismatches[0])
    assert finding.text == "reference: success; target: Input/output error (5)"
    assert dual.findings.verdict is Verdict.WRONG


def test_the_side_that_fails_is_to_blame() -> None:
    dual = pair()
    dual.reference, dual.target = Layered(
        dual.reference, create("rules: [{event: read_aio, errno: ENOSPC}]", seed=0)
    ), dual.reference  # fmt: skip
    dual.step(one(1, Kind.READ, 4096, 512))
    (finding,) = dual.findings
    assert finding.side == "reference"
    assert finding.text == "reference: No space left on device (28); target: success"
    assert finding.seen == error(28)


def test_a_mismatch_is_looked_at_again_at_once_and_the_life_says_which_reads_were_right() -> None:
    dual = pair()
    dual.step(one(1, Kind.WRITE, 4096, 1024))
    dual.step(one(2, Kind.READ, 4096, 512))
    below(dual).write(4096, bytes(512))
    seen = []

    def look(finding: Finding) -> Finding:
        seen.append(finding.sector)
        return replace(finding, evidence=("looked",))

    dual.look_again = look
    dual.step(one(3, Kind.READ, 4096, 512))
    dual.step(one(4, Kind.READ, 4608, 512))
    assert seen == [8]
    assert [found.evidence for found in dual.findings] == [("looked",)]
    life = dual.catch_up().history.life((4096, 1024))
    assert [(m.number, m.text) for m in life if m.kind == "read"] == [
        (2, ""),
        (3, DIFFERED),
        (4, ""),
    ]
    dual.verify(4096, 1024)
    assert [m.text for m in dual.catch_up().history.life((4096, 1024))][-1] == DIFFERED


def test_reads_in_flight_with_a_change_there_are_not_judged() -> None:
    dual = pair()
    dual.step((*one(1, Kind.WRITE, 4096, 512), *one(2, Kind.READ, 4096, 512)))
    life = dual.catch_up().history.life((4096, 512))
    assert [m.text for m in life if m.kind == "read"] == [NOT_JUDGED]
