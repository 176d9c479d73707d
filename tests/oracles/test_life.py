"""The life of a sector, and the moment that a finding contradicts."""

from __future__ import annotations

from itertools import count

import pytest

from oracles.damage import Damage
from oracles.finding import SECTOR, Finding
from oracles.life import KILLED, MOST, Moment, reads_that_returned
from oracles.resizes import resized
from oracles.shadow import NotPermitted, Shadow
from oracles.stamps import Identity


@pytest.fixture
def shadow() -> Shadow:
    made = Shadow(64 * SECTOR, Identity(1, 2))
    ticks = count()
    made.history.clock = lambda: next(ticks) * 1.0
    made.prefill()
    made.flush()
    return made


def write(shadow: Shadow, sector: int, **flags: bool) -> bytes:
    data = shadow.stamped(sector * SECTOR, SECTOR)
    shadow.write(sector * SECTOR, data, **flags)
    return data


def finding_of(shadow: Shadow, sector: int, data: bytes) -> Finding:
    shadow.history.note("read", sector * SECTOR, len(data))
    with pytest.raises(NotPermitted) as caught:
        shadow.settle(sector * SECTOR, data)
    return caught.value.findings[0]


def sentence(finding: Finding) -> str:
    assert finding.culprit is not None
    return finding.culprit.sentence


def test_a_flushed_write_that_a_power_cut_removes_accuses_the_flush(shadow: Shadow) -> None:
    old = shadow.expected(5 * SECTOR, SECTOR)
    write(shadow, 5)
    shadow.flush()
    shadow.power_cut()
    finding = finding_of(shadow, 5, old)
    assert [one.kind for one in finding.life] == [
        "prefill", "flush", "write", "flush", "cut", "read"
    ]  # fmt: skip
    assert sentence(finding) == (
        "The power was cut at 4.000 s. Write #1 was acknowledged at 2.000 s and flushed at 3.000 s,"
        " and is gone: the flush between did not make it durable."
    )
    assert finding.culprit
    assert (finding.culprit.place, finding.culprit.lost) == (3, 2)


def test_a_flush_that_kept_a_change_over_a_cut_is_not_accused_of_its_loss_in_the_next_one(
    shadow: Shadow,
) -> None:
    old = shadow.expected(5 * SECTOR, SECTOR)
    new = write(shadow, 5)
    shadow.flush()
    shadow.power_cut()
    shadow.history.note("read", 5 * SECTOR, SECTOR)
    shadow.settle(5 * SECTOR, new)
    shadow.power_cut()
    finding = finding_of(shadow, 5, old)
    assert sentence(finding) == (
        "The power was cut at 6.000 s. Write #1 was acknowledged at 2.000 s, and is gone, although"
        " it survived the cut before."
    )
    assert finding.culprit
    assert finding.life[finding.culprit.place].kind == "write"


def test_without_a_write_cache_no_flush_is_accused(shadow: Shadow) -> None:
    old = shadow.expected(5 * SECTOR, SECTOR)
    write(shadow, 5)
    shadow.durable("with the write cache off")
    shadow.power_cut()
    finding = finding_of(shadow, 5, old)
    assert sentence(finding) == (
        "The power was cut at 4.000 s. Write #1 was acknowledged at 2.000 s with the write cache"
        " off, and is gone: it had to be durable without a flush."
    )
    assert finding.culprit
    assert finding.life[finding.culprit.place].kind == "write"
    assert not any("the flush that" in line for line in finding.evidence)


def test_a_lost_write_with_fua_accuses_fua(shadow: Shadow) -> None:
    old = shadow.expected(5 * SECTOR, SECTOR)
    write(shadow, 5, fua=True)
    shadow.power_cut()
    assert "FUA did not make it durable" in sentence(finding_of(shadow, 5, old))


def test_a_torn_sector_accuses_the_write_that_was_not_flushed(shadow: Shadow) -> None:
    old = shadow.expected(5 * SECTOR, SECTOR)
    new = write(shadow, 5)
    shadow.power_cut()
    finding = finding_of(shadow, 5, new[:256] + old[256:])
    assert finding.damage is Damage.TORN
    assert finding.culprit
    assert finding.life[finding.culprit.place].kind == "write"
    assert "partly old and partly new" in sentence(finding)


def test_a_later_change_of_other_bytes_of_the_sector_is_not_torn(shadow: Shadow) -> None:
    old = shadow.expected(5 * SECTOR, SECTOR)
    shadow.write(5 * SECTOR + 200, shadow.stamped(5 * SECTOR + 200, 300))
    shadow.write(5 * SECTOR, shadow.stamped(5 * SECTOR, 100))
    new = shadow.expected(5 * SECTOR, SECTOR)
    shadow.power_cut()
    finding = finding_of(shadow, 5, new[:230] + old[230:])
    assert finding.culprit
    assert finding.life[finding.culprit.place].number == 1
    assert finding.last_writes[0].number == 1
    assert "Write #1 was not flushed" in sentence(finding)


def test_a_read_of_bytes_of_a_later_change_did_not_return_the_first_one() -> None:
    life = [
        Moment("write", 1, 0, 4096),
        Moment("write", 2, 1024, 512),
        Moment("read", 0, 1100, 2),
        Moment("read", 0, 1500, 100),
        Moment("read", 0, 0, 4096),
    ]
    assert reads_that_returned(life, 0) == [3]
    assert reads_that_returned(life, 1) == [2, 3]


def test_after_a_kill_of_the_server_no_power_cut_is_told(shadow: Shadow) -> None:
    old = shadow.expected(5 * SECTOR, SECTOR)
    write(shadow, 5)
    shadow.flush()
    shadow.power_cut(how=KILLED)
    text = sentence(finding_of(shadow, 5, old))
    assert text.startswith("The server was killed at 4.000 s. Write #1 was acknowledged")


def test_damage_after_a_stop_of_the_server_says_so(shadow: Shadow) -> None:
    old = shadow.expected(5 * SECTOR, SECTOR)
    shadow.history.lane = "one"
    new = write(shadow, 5)
    shadow.history.note("read", 5 * SECTOR, SECTOR)
    shadow.settle(5 * SECTOR, new)
    shadow.history.note("close")
    shadow.history.note("restart")
    shadow.history.lane = "two"
    text = sentence(finding_of(shadow, 5, old))
    assert text.endswith(
        "No power was cut. One read before returned it. After the last of them, the server was"
        " stopped at 5.000 s in its normal way and started again, and the connection of the write"
        " was closed at 4.000 s."
    )


def test_damage_that_is_first_seen_after_the_writer_left_says_so(shadow: Shadow) -> None:
    old = shadow.expected(5 * SECTOR, SECTOR)
    for lane in ("other", "one"):
        shadow.history.lane = lane
        write(shadow, 5 if lane == "one" else 9)
        shadow.history.note("close")
    shadow.history.lane = "two"
    finding = finding_of(shadow, 5, old)
    assert sentence(finding).endswith(
        "No power was cut. Before this first read, the connection of the write was closed at"
        " 5.000 s."
    )
    assert [one.lane for one in finding.life if one.kind == "close"] == ["one"]


def test_a_connection_that_was_closed_before_a_read_that_was_right_is_not_named(
    shadow: Shadow,
) -> None:
    old = shadow.expected(5 * SECTOR, SECTOR)
    shadow.history.lane = "one"
    new = write(shadow, 5)
    shadow.history.note("close")
    for lane in ("two", "three", "four", "five"):
        shadow.history.lane = lane
        shadow.history.note("read", 5 * SECTOR, SECTOR)
        shadow.settle(5 * SECTOR, new)
    for lane in ("two", "three", "four"):
        shadow.history.lane = lane
        shadow.history.note("close")
    shadow.history.lane = "five"
    text = sentence(finding_of(shadow, 5, old))
    assert "of the write was closed" not in text
    assert text.endswith(
        "4 reads before returned it. After the last of them, two was closed at 8.000 s, and three"
        " was closed at 9.000 s, and 1 more connection was closed."
    )


def test_without_a_cut_the_write_is_named_and_the_reader(shadow: Shadow) -> None:
    old = shadow.expected(5 * SECTOR, SECTOR)
    shadow.history.lane = "one"
    new = write(shadow, 5)
    shadow.history.note("read", 5 * SECTOR, SECTOR)
    shadow.settle(5 * SECTOR, new)
    shadow.history.lane = "two"
    finding = finding_of(shadow, 5, old)
    assert sentence(finding) == (
        "Write #1 was acknowledged at 2.000 s, and the read from another connection (two) at"
        " 4.000 s does not return it. No power was cut. One read before returned it."
    )


def test_misdirected_data_names_the_write_and_where_it_was_sent(shadow: Shadow) -> None:
    new = write(shadow, 5)
    finding = finding_of(shadow, 9, new)
    assert finding.damage is Damage.MISDIRECTED
    assert "Write #1 was sent to sector 5" in sentence(finding)


def test_a_lost_stamp_is_found_where_it_went(shadow: Shadow) -> None:
    whole = bytearray(shadow.expected(0, 64 * SECTOR))
    data = write(shadow, 5)
    whole[6 * SECTOR : 7 * SECTOR] = data
    lost = next(one for one in shadow.check(0, bytes(whole)) if one.sector == 5)
    assert lost.found_at == 6 * SECTOR
    assert lost.text.endswith("; found instead at sector 6 (+1)")


def test_a_stamp_at_its_own_place_is_not_found_elsewhere(shadow: Shadow) -> None:
    whole = bytearray(shadow.expected(0, 64 * SECTOR))
    write(shadow, 5)
    assert [one.found_at for one in shadow.check(0, bytes(whole))] == [None]


def test_a_life_is_bounded_and_survives_json(shadow: Shadow) -> None:
    for _ in range(2 * MOST):
        write(shadow, 5)
        shadow.flush()
    finding = finding_of(shadow, 5, bytes(SECTOR))
    assert sum(one.kind == "write" for one in finding.life) == MOST - 1  # and the read
    assert len(finding.life) < 2 * MOST
    again = Finding.from_json(finding.to_json())
    assert again.life == finding.life


def test_faults_that_fired_are_in_their_place(shadow: Shadow) -> None:
    write(shadow, 5)
    shadow.history.faults.append(lambda: [Moment("fault", at_s=1.5, text="rule r1")])
    finding = finding_of(shadow, 5, bytes(SECTOR))
    assert [one.kind for one in finding.life] == ["prefill", "flush", "fault", "write", "read"]


def test_the_sizes_of_a_volume_say_whether_a_place_was_behind_its_end(shadow: Shadow) -> None:
    shadow.resize(8 * SECTOR)
    shadow.resize(64 * SECTOR)
    life = finding_of(shadow, 20, b"x" * SECTOR).life
    sizes = "the volume had 32768 bytes, then 4096 bytes, then 32768 bytes"
    assert resized(life, 20 * SECTOR) == (
        f"{sizes}; offset 10240 was behind its end while it had 4096 bytes"
    )
    assert resized(life, 5 * SECTOR) == f"{sizes}; offset 2560 was never behind its end"
    assert resized((), 0) == ""


def test_a_change_that_was_in_flight_and_then_ended_is_one_event(shadow: Shadow) -> None:
    data = shadow.stamped(5 * SECTOR, SECTOR)
    number = shadow.next_operation() - 1
    shadow.maybe_write(5 * SECTOR, data, operation=number)
    shadow.write(5 * SECTOR, data, operation=number)
    shadow.maybe_write(5 * SECTOR, shadow.stamped(5 * SECTOR, SECTOR))
    life = shadow.history.life((5 * SECTOR, SECTOR))
    changes = [(one.number, one.is_certain) for one in life if one.kind == "write"]
    assert changes == [(number, True), (number + 2, False)]


def test_a_power_cut_is_not_accused_if_a_read_after_it_returned_the_change(shadow: Shadow) -> None:
    old = shadow.expected(5 * SECTOR, SECTOR)
    write(shadow, 5)
    shadow.flush()
    shadow.power_cut()
    shadow.history.note("read", 5 * SECTOR, SECTOR)
    shadow.history.note("snapshot", text="snapshot s1 of disk was removed")
    shadow.history.note("snapshot", text="snapshot s2 of disk was taken")
    finding = finding_of(shadow, 5, old)
    assert finding.life[-2].kind == "snapshot" and finding.life[-2].lane == ""
    assert sentence(finding) == (
        "Write #1 was acknowledged at 2.000 s, and the read at 8.000 s does not return it. A read"
        " after the power cut at 4.000 s returned it. One read before returned it. After the last"
        " of them, snapshot s1 of disk was removed at 6.000 s, beside 1 other change of snapshots."
    )


@pytest.mark.parametrize(
    ("event", "rest"),
    [
        ("taken", "."),
        (
            "removed",
            (
                ", or a removal took it away. Nothing read it between the cut and this:"
                " snapshot s1 of disk was removed at 5.000 s."
            ),
        ),
    ],
)
def test_the_flush_comes_first_and_only_a_removal_shares_the_suspicion(
    shadow: Shadow, event: str, rest: str
) -> None:
    old = shadow.expected(5 * SECTOR, SECTOR)
    write(shadow, 5)
    shadow.flush()
    shadow.power_cut()
    shadow.history.note("snapshot", text=f"snapshot s1 of disk was {event}")
    assert sentence(finding_of(shadow, 5, old)) == (
        "The power was cut at 4.000 s. Write #1 was acknowledged at 2.000 s and flushed at 3.000 s,"
        f" and is gone: the flush between did not make it durable{rest}"
    )


@pytest.mark.parametrize(
    ("is_taken_before", "sees_what_it_had", "is_named"),
    [(False, False, True), (True, False, False), (True, True, True)],
)
def test_a_removal_is_named_only_if_it_can_be_the_cause(
    shadow: Shadow, is_taken_before: bool, sees_what_it_had: bool, is_named: bool
) -> None:
    """A snapshot from before the change never had it, and can only bring back what it had."""
    old = shadow.expected(5 * SECTOR, SECTOR) if sees_what_it_had else bytes(SECTOR)
    taken = "snapshot s1 of disk was taken"
    if is_taken_before:
        shadow.history.note("snapshot", text=taken)
    write(shadow, 5)
    shadow.flush()
    if not is_taken_before:
        shadow.history.note("snapshot", text=taken)
    shadow.power_cut()
    shadow.history.note("snapshot", text="snapshot s1 of disk was removed")
    told = sentence(finding_of(shadow, 5, old))
    assert ("snapshot s1 of disk was removed" in told) == is_named


def test_changes_in_relatives_are_in_a_finding(shadow: Shadow) -> None:
    clone = shadow.copy(writer=1)
    clone.history.volume, clone.history.clock = "clone c1", shadow.history.clock
    shadow.history.relatives = lambda: [shadow.history, clone.history]
    clone.zero(5 * SECTOR, SECTOR)  # before the last change of the volume
    old = shadow.expected(5 * SECTOR, SECTOR)
    write(shadow, 5)
    clone.zero(5 * SECTOR, 2 * SECTOR)
    clone.zero(9 * SECTOR, SECTOR)
    found = finding_of(shadow, 5, old)
    assert [(one.kind, one.lane, one.length) for one in found.relatives] == [
        ("zero", "clone c1", SECTOR),
        ("zero", "clone c1", 2 * SECTOR),
    ]
    assert found.not_listed == 0


def test_a_finding_counts_the_events_that_it_leaves_out(shadow: Shadow) -> None:
    clone = shadow.copy(writer=1)
    clone.history.volume, clone.history.clock = "clone c1", shadow.history.clock
    shadow.history.relatives = lambda: [shadow.history, clone.history]
    old = shadow.expected(5 * SECTOR, SECTOR)
    for _ in range(MOST):
        write(shadow, 5)
    for _ in range(103):
        clone.zero(5 * SECTOR, SECTOR)
    found = finding_of(shadow, 5, old)
    listed = sum(one.touches(5 * SECTOR, SECTOR) for one in found.life)
    known = [one for one in shadow.history.moments if one.touches(5 * SECTOR, SECTOR)]
    assert found.not_listed == len(known) - listed + 3
    assert len(found.relatives) == 100


def test_a_block_status_says_what_it_said_of_the_place(shadow: Shadow) -> None:
    states = [("base:allocation", 0, 4096, "data"), ("base:allocation", 4096, 8192, "hole")]
    shadow.history.answered(0, 8192, states, "C")
    [answer] = [one for one in shadow.history.life((4096, 512)) if one.kind == "status"]
    assert (answer.text, answer.lane) == ("base:allocation: hole", "C")
    assert type(answer) is Moment
    assert not [one for one in shadow.history.life((8192, 512)) if one.kind == "status"]
