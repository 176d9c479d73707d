"""The facts that all findings of some failures share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from oracles.damage import Content, Damage, Operation, What
from oracles.finding import DISCARDED, READ_WAS_WRONG, SECTOR, Finding
from oracles.life import Moment
from oracles.linearizability import Access, check
from qbdcheck.report.shared_facts import reads_alike, shared_facts


def facts_of(findings: Sequence[Finding]) -> list[str]:
    return shared_facts([findings])


def torn(sector: int, *part: int) -> Finding:
    return Finding(Damage.TORN, sector * SECTOR, SECTOR, part=(part[0], part[1]))


def test_the_byte_is_told_where_it_is_always_the_same() -> None:
    same = [torn(1, 0, 192), torn(3, 0, 192), torn(4, 192, 512)]
    assert facts_of(same) == ["always at byte 192 of the sector"]
    assert facts_of([*same, torn(5, 0, 64)]) == []
    assert facts_of([*same, Finding(Damage.ZEROED, 0, SECTOR)]) == []
    assert facts_of(same[:1]) == []


def test_the_writes_are_counted_with_their_lengths() -> None:
    def gone(number: int, length: int) -> Finding:
        write = Operation(number, number * 4096, length, "write")
        return Finding(Damage.NEVER_WRITTEN, number * 4096, SECTOR, last_writes=(write,))

    assert facts_of([gone(1, 1), gone(2, 53482), gone(2, 53482)]) == [
        "2 writes lost, 1 to 53482 bytes"
    ]
    assert facts_of([gone(1, 1)]) == []


def lost(offset: int, length: int, damage: Damage = Damage.ZEROED) -> Finding:
    return Finding(damage, offset, length)


def test_the_unit_is_told_at_whose_multiples_lost_data_ends() -> None:
    ends = [lost(28672, 4096), lost(86016, 12288), lost(61440, 4096, Damage.LOST)]
    assert facts_of(ends) == ["always up to a multiple of 32 KiB"]
    assert facts_of(ends[:2]) == []
    assert facts_of([*ends, lost(4096, 4096)]) == []
    assert facts_of([*ends, lost(28672, 4096, Damage.MISDIRECTED)]) == []
    whole_units = [lost(number << 15, 1 << 15) for number in range(1, 5)]
    assert facts_of(whole_units) == []


def test_the_part_of_the_volume_is_told_that_has_all_damage() -> None:
    beside = [
        Operation(number, number << 20, 4096, "write") for number in (*range(4), *range(3, 9))
    ]
    beside += [Operation(10, 4096 * number, 4096, "write") for number in range(3)]
    places = [lost((768 + 20 * number) << 10, 512, Damage.MISDIRECTED) for number in range(12)]
    known = [replace(places[0], right_writes=tuple(beside)), *places[1:]]
    assert facts_of(known) == ["all of it between 768 KiB and 1 MiB"]
    assert facts_of(places) == []  # nothing is known of the rest of the volume
    assert facts_of(known[:7]) == []
    assert facts_of([*known, lost(4096, 512, Damage.MISDIRECTED)]) == []
    assert facts_of([*known, lost(64 << 20, 512, Damage.MISDIRECTED)]) == []
    assert facts_of([*known, Finding(Damage.ERROR, request="WRITE")]) == []


def history(sector: int, reader: int, *, later: int = 2) -> Finding:
    """Return that a client reads an old value; ``later``: the value that it reads next."""
    (anomaly,) = check([
        Access(sector, True, 1, 0, 1, 1, 1),
        Access(sector, True, 2, 2, 3, 1, 2),
        Access(sector, False, 1, 4 + sector, 5 + sector, reader, 3),
        Access(sector, False, later, 60, 70, reader, 4),
    ])[:1]  # fmt: skip
    return anomaly.finding


def test_connections_are_told_apart() -> None:
    across = [history(sector, 2) for sector in range(4)]
    assert facts_of(across) == [
        "the reader is another connection than the last writer in all 4 stale reads",
        "the next read by the same connection was right (4 of 4)",
    ]
    assert facts_of(across[:3]) == []
    own = [history(sector, 1) for sector in range(4)]
    assert facts_of(own)[0] == (
        "the reader is the same connection as the last writer in all 4 stale reads"
    )
    assert not [fact for fact in facts_of([*across, *own]) if "reader" in fact]


def wrong_read(number: int, writer: str, reader: str, *, again: str) -> Finding:
    """Return a read of old data; ``again``: what the second read over its connection returned."""
    life = (
        Moment("write", number, 0, SECTOR, number / 10, writer),
        Moment("read", 0, 0, SECTOR, number / 10 + 0.01, reader, is_certain=False),
    )
    return Finding(
        Damage.STALE,
        0,
        SECTOR,
        life=life,
        evidence=(
            f"read again over the same connection: {again}",
            f"read again over a new connection: the data is right, {READ_WAS_WRONG}",
        ),
    )


def test_wrong_reads_are_stale_reads_too() -> None:
    found = [wrong_read(number, "B", "A", again="the data is right") for number in range(4)]
    both = facts_of(found)
    assert both == [
        "the reader is another connection than the last writer in all 4 stale reads",
        "the next read by the same connection was right (4 of 4)",
    ]
    kept = [wrong_read(number, "B", "A", again="the same damage") for number in range(4)]
    assert facts_of(kept) == both[:1]
    assert reads_alike([wrong_read(9, "B", "A", again="the data is right")], [found])
    assert not reads_alike([wrong_read(9, "A", "A", again="the data is right")], [found])
    assert not reads_alike([wrong_read(9, "B", "A", again="the same damage")], [found])
    assert not reads_alike([torn(1, 0, 192)], [found])


def test_the_writer_is_who_sent_what_had_to_be_read() -> None:
    """A later discard by the reader does not make it the last writer: old data may stay."""

    def late(number: int) -> Finding:
        found = wrong_read(number, "B", "A", again="the data is right")
        discard = Moment("discard", number + 50, 0, SECTOR, number / 10 + 0.005, "A")
        life = (found.life[0], discard, found.life[1])
        return replace(found, life=life, expected=Content(What.STAMP, number, number))

    facts = facts_of([late(number) for number in range(1, 5)])
    assert facts[0].startswith("the reader is another connection than the last writer in all 4")


def cut(number: int, *between: Moment) -> Finding:
    """Return a torn write with a power cut after it."""
    life = (
        Moment("write", number, 0, SECTOR, generation=number),
        *between,
        Moment("cut"),
        Moment("read", 0, 0, SECTOR),
    )
    return Finding(
        Damage.TORN,
        0,
        SECTOR,
        expected=Content(What.STAMP, number, number),
        part=(384, 512),
        life=life,
    )


def test_power_cuts_and_flushes_are_told() -> None:
    byte = "always at byte 384 of the sector"
    torn_by_cuts = [cut(number) for number in range(1, 5)]
    assert facts_of(torn_by_cuts) == [
        byte,
        "only after a power cut, of requests that were not flushed (4 of 4)",
    ]
    flushed = [cut(number, Moment("flush")) for number in range(1, 5)]
    assert facts_of(flushed)[1].endswith("of requests that were flushed (4 of 4)")
    assert facts_of([*torn_by_cuts, *flushed]) == [byte]
    assert facts_of(torn_by_cuts[:2]) == []


def test_a_border_may_have_equal_bytes_and_places_that_nobody_examined_say_nothing() -> None:
    most = [torn(sector, 384, 512) for sector in range(8)]
    more = Finding(Damage.UNKNOWN, 0, SECTOR, count=512)
    byte = ["always at byte 384 of the sector"]
    assert facts_of([*most, torn(9, 385, 512), torn(10, 384, 400), more]) == byte
    assert facts_of([*most, torn(9, 390, 512)]) == []
    assert facts_of([torn(1, 384, 512), torn(2, 386, 512)]) == []


def broken_reply(text: str, head: str) -> Finding:
    return Finding(Damage.PROTOCOL, remark=text, evidence=(f"received, 16 bytes: {head}",))


def test_replies_that_break_the_protocol_in_one_way() -> None:
    turned = "a reply to cookie 0x01: it is cookie 0x10 with its bytes in reverse order"
    failed = [broken_reply(turned, f"67446698 000000{error:02x} 01000000 00000000")
              for error in (1, 5, 5)]  # fmt: skip
    assert facts_of(failed) == [
        "all 3 broken replies have a cookie with its bytes in reverse order",
        "all 3 report an error (EPERM, EIO)",
    ]
    right = broken_reply(turned, "67446698 00000000 01000000 00000000")
    assert facts_of([*failed, right]) == [
        "all 4 broken replies have a cookie with its bytes in reverse order"
    ]
    other = broken_reply("a chunk of type 9", "67446698 00000005 01000000 00000000")
    assert facts_of([*failed, other]) == ["all 4 broken replies report an error (EPERM, EIO)"]
    assert facts_of(failed[:2]) == []


def test_places_behind_discards() -> None:
    behind = [
        replace(lost(number << 20, 4096), evidence=(f"{DISCARDED} behind discard #9",))
        for number in (1, 2)
    ]
    fact = "places lie directly behind a discard that came later"
    assert f"2 of 2 {fact}" in facts_of(behind)
    before = replace(lost(3 << 20, 4096), evidence=(f"{DISCARDED} before discard #9",))
    assert "3 of 3 places lie directly beside a discard that came later" in facts_of(
        [*behind, before]
    )
    other = lost(3 << 20, 4096)
    assert f"2 of 3 {fact}" in facts_of([*behind, other])
    assert not [one for one in facts_of([*behind, *[other] * 3]) if "discard" in one]
    assert not [one for one in facts_of(behind[:1]) if "discard" in one]


def ended(number: int, *after: Moment) -> Finding:
    write = Moment("write", number, number * SECTOR, SECTOR, 1.0, "qemu-io.0", number)
    read = Moment("read", 0, 0, 64 * SECTOR, 5.0, "qemu-img")
    new, old = (Content(What.STAMP, one, number, 0, 1, 2) for one in (number, 0))
    return Finding(
        Damage.NEVER_WRITTEN, number * SECTOR, SECTOR, expected=new, seen=old,
        life=(write, *after, read),
    )  # fmt: skip


def test_the_end_of_the_connection_or_of_the_server_is_told_where_reads_before_it_were_right() -> (
    None
):
    read = Moment("read", 0, 0, 64 * SECTOR, 2.0, "qemu-img")
    close, stop = Moment("close", at_s=3.0, lane="qemu-io.0"), Moment("restart", at_s=4.0)
    closed = "only after the connection of the write was closed (3 of 3)"
    stopped = "only after the server was stopped in its normal way (3 of 3)"
    first = ended(1, read, close)
    assert closed in facts_of([first, ended(2, close), ended(3, close)])
    assert closed not in facts_of([ended(1, close), ended(2, close), ended(3, close)])
    assert closed not in facts_of([first, ended(2, close), ended(3)])
    assert closed not in facts_of([first, ended(2, close)])
    assert stopped in facts_of([ended(1, read, close, stop), ended(2, stop), ended(3, stop)])
    cut = Moment("cut", at_s=3.0)
    assert closed not in facts_of([first, ended(2, close, cut), ended(3, close)])
