"""Every failure has one sentence that names the request, what became of it, and where."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import pytest

from oracles.damage import Content, Damage, Difference, Operation, What
from oracles.finding import DISCARDED, READ_WAS_WRONG, SECTOR, Finding
from oracles.fits import Fit, How
from oracles.life import KILLED, Moment
from oracles.linearizability import Access, check
from qbdcheck.files import ROOT
from qbdcheck.report.events import CaseEnded
from qbdcheck.report.page_verdict import place_of, verdict_of
from qbdcheck.report.page_words import named, parts_of, request_in_words, text_of
from qbdcheck.verdict import Verdict

NEW = Content(What.STAMP, 3, 7, 0, 1, 2)
OLD = Content(What.STAMP, 0, 0, 0, 1, 2)
PREFILL = Moment("prefill", 0, 0, 64 * SECTOR, 0.0, generation=0)
WRITE = Moment("write", 7, 2500, 700, 1.0, "qemu-io.0", 3)
FLUSH, CUT = Moment("flush", at_s=2.0), Moment("cut", at_s=3.0)
DURABLE = Moment("durable", at_s=2.0, text="with the write cache off")
READ = Moment("read", 9, 0, 64 * SECTOR, 4.0, "qemu-img")
CLOSE, STOP = Moment("close", at_s=2.0, lane="qemu-io.0"), Moment("restart", at_s=3.0)
REMOVED = Moment("snapshot", at_s=3.1, text="snapshot s1 was removed")
TAKEN = Moment("snapshot", at_s=3.2, text="snapshot s2 was taken")
LOST = Finding(Damage.NEVER_WRITTEN, 5 * SECTOR, SECTOR, expected=NEW, seen=OLD)


def verdict(runs: ModuleType, *findings: Finding, message: str = "wrong", details: str = "") -> str:
    case: CaseEnded = runs.ended(
        3, Verdict.FAIL, message=message, details=details, findings=findings
    )
    return verdict_of(case)


@pytest.mark.parametrize(
    ("life", "became"),
    [
        ((PREFILL, WRITE, READ), "was acknowledged; read back, sector 5 still has"),
        ((PREFILL, WRITE, CLOSE, READ),
         ("was acknowledged; read back after its connection was closed (nothing read it before),"
          " sector 5 still has")),
        ((PREFILL, WRITE, CLOSE, READ, READ), "was acknowledged; read back, sector 5 still has"),
        ((PREFILL, WRITE, READ, CLOSE, READ),
         ("was acknowledged; read back after its connection was closed (the read before that"
          " returned it), sector 5 still has")),
        ((PREFILL, WRITE, FLUSH, CLOSE, STOP, READ),
         ("was acknowledged; read back after the server was stopped in its normal way and started"
          " again (nothing read it before), sector 5 still has")),
        ((PREFILL, WRITE, FLUSH, replace(CUT, text=KILLED), READ),
         "was acknowledged and flushed; after the server was killed sector 5 still has"),
        ((PREFILL, WRITE, FLUSH, CUT, READ),
         "was acknowledged and flushed; after a power cut sector 5 still has"),
        ((PREFILL, replace(WRITE, is_certain=False), FLUSH, CUT, READ),
         "has no known outcome, and a flush followed it; after a power cut sector 5 still has"),
        ((PREFILL, WRITE, CUT, READ),
         "was acknowledged, but not flushed; after a power cut sector 5 still has"),
        ((PREFILL, WRITE, DURABLE, CUT, READ),
         "was acknowledged with the write cache off; after a power cut sector 5 still has"),
        ((PREFILL, replace(WRITE, fua=True), CUT, READ),
         "with FUA was acknowledged; after a power cut sector 5 still has"),
    ],
)  # fmt: skip
def test_a_lost_write_is_named_with_what_became_of_it(
    runs: ModuleType, life: tuple[Moment, ...], became: str
) -> None:
    found = verdict(runs, replace(LOST, life=life))
    assert found == f"Write #7 of 700 bytes at offset 2500 {became} the prefill."


@pytest.mark.parametrize(
    ("life", "became"),
    [
        ((PREFILL, WRITE, READ, TAKEN, REMOVED, TAKEN, CLOSE, READ),
         ("was acknowledged; read back after snapshot s1 was removed (the read before that returned"
          " it), sector 5 still has")),
        ((PREFILL, WRITE, TAKEN, READ),
         ("was acknowledged; read back after snapshot s2 was taken (nothing read it before), sector"
          " 5 still has")),
        ((PREFILL, WRITE, FLUSH, CUT, REMOVED, READ),
         ("was acknowledged and flushed; after a power cut, and after snapshot s1 was removed,"
          " sector 5 still has")),
        ((PREFILL, WRITE, FLUSH, CUT, READ, CLOSE, READ),
         ("was acknowledged; read back after its connection was closed (the read before that"
          " returned it), sector 5 still has")),
        ((PREFILL, WRITE, FLUSH, CUT, READ, CUT, READ),
         "was acknowledged and flushed; after a power cut sector 5 still has"),
    ],
)  # fmt: skip
def test_what_came_after_the_last_right_read_is_named(
    runs: ModuleType, life: tuple[Moment, ...], became: str
) -> None:
    found = verdict(runs, replace(LOST, life=life))
    assert found == f"Write #7 of 700 bytes at offset 2500 {became} the prefill."


def test_requests_in_flight_with_the_lost_write_are_named(runs: ModuleType) -> None:
    in_flight = replace(WRITE, text="write (in flight with others)")
    lost = replace(LOST, life=(PREFILL, in_flight, READ))
    assert "was acknowledged while other requests to the same place were in flight" in verdict(
        runs, lost
    )
    others = (
        Operation(7, 2500, 700, in_flight.text),
        Operation(8, 2600, 1, "write zeroes (in flight with others)"),
        Operation(3, 2500, 700, "write"),
    )
    assert "while write zeroes #8 of 1 byte at offset 2600 was in flight; read back" in verdict(
        runs, replace(lost, last_writes=others)
    )


def test_many_right_writes_of_the_same_length_point_at_the_data(runs: ModuleType) -> None:
    write = Moment("write", 7, 8192, 4096, 1.0, "qemu-io.0", 3)
    right = tuple(Operation(number, 4096 * number, 4096, "write") for number in range(10, 40))
    zeroes = Finding(Damage.ZEROED, 8192, 4096, expected=NEW, seen=Content(What.ZEROES),
                     life=(PREFILL, write, READ), right_writes=right)  # fmt: skip
    said = "; 30 other writes of 4096 bytes are right, so what matters may be its data."
    assert verdict(runs, zeroes).endswith(said)
    assert "what matters" not in verdict(runs, replace(zeroes, right_writes=right[:10]))
    longer = tuple(replace(one, length=8192) for one in right)
    assert "what matters" not in verdict(runs, replace(zeroes, right_writes=longer))
    cut = replace(zeroes, life=(PREFILL, write, FLUSH, CUT, READ))
    assert "what matters" not in verdict(runs, cut)


def test_data_of_another_volume_is_told_with_the_snapshot_that_was_read(runs: ModuleType) -> None:
    other = Content(What.STAMP, 2, 4, 0, 1, 9)
    foreign = Finding(Damage.FOREIGN, 5 * SECTOR, SECTOR, expected=OLD, seen=other,
                      life=(PREFILL, FLUSH, TAKEN, READ))  # fmt: skip
    assert verdict(runs, foreign) == (
        "Sector 5 has data of another volume (run 0x1, volume 0x9, its write #4), and nothing was"
        " written there since the prefill; before this read snapshot s2 was taken."
    )


def test_old_data_on_a_fresh_volume_was_never_written_there(runs: ModuleType) -> None:
    fresh = Finding(Damage.STALE, 0, SECTOR, expected=Content(What.ZEROES), seen=NEW)
    assert verdict(runs, fresh).endswith("and nothing was written there since the volume was made.")


@pytest.mark.parametrize(
    ("finding", "words"),
    [
        (Finding(Damage.TORN, 512, SECTOR, seen=OLD, expected=NEW, part=(192, 512)),
         "Sector 1 is torn at byte 192: the bytes before it are of generation 3 by write #7, the"),
        (Finding(Damage.ZEROED, 0, 1024), "Sectors 0 to 1 read as zeroes."),
        (Finding(Damage.ALTERED, 0, SECTOR, part=(298, 299)),
         "Sector 0 has other data at byte 298."),
        (Finding(Damage.MISDIRECTED, 8192, SECTOR, seen=NEW, moved=4096),
         "Data of write #7 is 8 sectors too high. Sector 16 has data of write #7 that belongs 8"),
        (Finding(Damage.BIT_FLIP, 0, SECTOR, part=(3, 4), count=1),
         "Sector 0 has changed bits: bit flip at byte 3 of the sector."),
    ],
)  # fmt: skip
def test_a_place_without_a_life_is_named(runs: ModuleType, finding: Finding, words: str) -> None:
    assert verdict(runs, finding).startswith(words)


@pytest.mark.parametrize("damage", [Damage.ALTERED, Damage.UNKNOWN])
def test_data_that_nobody_sent_there_blames_no_request(runs: ModuleType, damage: Damage) -> None:
    other = Finding(damage, 5 * SECTOR, SECTOR, expected=NEW, part=(298, 299), count=1)
    said = verdict(runs, replace(other, life=(PREFILL, WRITE, READ)))
    assert said.startswith("Sector 5 ")
    assert said.endswith("; the last request there was write #7 of 700 bytes at offset 2500.")
    untouched = replace(other, life=(PREFILL, READ), expected=OLD)
    assert verdict(runs, untouched).endswith(", and nothing was written there since the prefill.")


def test_a_power_cut_is_named_also_where_no_request_is_to_blame(runs: ModuleType) -> None:
    last = (Operation(7, 2500, 700, "write", 3),)
    torn = Finding(Damage.TORN, 5 * SECTOR, SECTOR, seen=OLD, part=(192, 512), last_writes=last)
    assert verdict(runs, replace(torn, life=(PREFILL, CUT, WRITE, READ))).startswith(
        "After write #7 of 700 bytes at offset 2500, sector 5 is torn"
    )
    assert verdict(runs, replace(torn, life=(PREFILL, WRITE, CUT, READ))).startswith(
        "After write #7 of 700 bytes at offset 2500 and a power cut, sector 5 is torn"
    )


def test_the_discard_beside_and_what_came_before_wrong_files_are_named(runs: ModuleType) -> None:
    line = f"{DISCARDED} behind discard #9 to 0+8192, which came after write #7"
    zeroed = Finding(
        Damage.ZEROED,
        16 * SECTOR,
        2 * SECTOR,
        evidence=(line,),
        last_writes=(Operation(7, 16 * SECTOR, 1024, "write"),),
    )
    message = "ext4: wrong files; all were right before these commands: fstrim /mnt, rm /x:\nmore"
    assert verdict(runs, zeroed, message=message) == (
        "Sectors 16 to 17 read as zeroes; they lie directly behind discard #9 to 0+8192, which came"
        " after write #7. Files of the guest are damaged: all were right before fstrim /mnt, rm /x."
    )


def test_a_block_of_fio_at_a_wrong_place_is_named(runs: ModuleType) -> None:
    block = Finding(
        Damage.MISDIRECTED, 8192, 4096, moved=4096, request="fio in the guest, /dev/vdb",
        remark="misdirected: a block of fio for offset 4096 is at offset 8192",
    )  # fmt: skip
    assert verdict(runs, block).startswith(
        "A write of fio in a guest went 8 sectors higher than it was sent: misdirected: a block"
    )
    lost = replace(block, damage=Damage.ZEROED, moved=None, remark="", found_at=4096)
    assert verdict(runs, lost).endswith(
        "sectors 16 to 23 has not the block that belongs there, and it is 8 sectors lower."
    )


def test_a_block_of_fio_whose_bytes_are_known_says_what_they_are(runs: ModuleType) -> None:
    block = "a block of fio for offset 8192, 4096 bytes, write 7 of job 1"
    flip = Finding(
        Damage.BIT_FLIP, 8704, 512, expected=Content(What.TEXT, text=block), part=(3, 4), count=1,
        difference=Difference(8707, b"\x01", b"\x05"), request="fio in the guest, /dev/vdb",
    )  # fmt: skip
    assert verdict(runs, flip) == (
        f"Fio in a guest wrote {block}; read back, sector 17 has changed bits: bit flip at byte 3"
        " of the sector (bit 2)."
    )
    again = f"read again over a new connection: the data is right, {READ_WAS_WRONG}"
    assert verdict(runs, replace(flip, evidence=(again,))).startswith(
        "A read of fio in a guest is wrong, and the stored data is right: sector 17 has changed"
    )
    old = replace(
        flip, damage=Damage.STALE, length=4096, difference=None,
        remark="write 5 of fio to this place is there, and write 7 of fio is expected",
    )  # fmt: skip
    assert verdict(runs, old).startswith("Sectors 17 to 24: write 5 of fio to this place is there")


def test_a_misdirected_write_names_its_range(runs: ModuleType) -> None:
    finding = Finding(
        Damage.MISDIRECTED, 5 * SECTOR, SECTOR, seen=NEW, moved=4096, life=(PREFILL, WRITE, READ)
    )
    found = verdict(runs, finding)
    assert found.startswith(
        "Write #7 of 700 bytes at offset 2500 went to the wrong place: sector 5"
    )


def test_a_reply_is_named_with_its_request(runs: ModuleType) -> None:
    finding = Finding(
        Damage.PROTOCOL,
        request="in reply to BLOCK_STATUS, offset 0, length 8388608, flags 0x0, cookie 0x7",
        remark="an empty extent: number 2 of 15 has length 0",
    )
    assert verdict(runs, finding) == (
        "The BLOCK_STATUS reply (offset 0, length 8 MiB) breaks the protocol: an empty extent:"
        " number 2 of 15 has length 0."
    )
    unknown = replace(finding, request=finding.request.replace("in reply to", "after"))
    assert verdict(runs, unknown).startswith(
        "After BLOCK_STATUS (offset 0, length 8 MiB), a reply breaks the protocol: "
    )


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("write -s qemu-io.0.data 4096 20000: Input/output error",
         "Write of 20000 bytes at offset 4096 failed: Input/output error."),
        ("aio_read 0 512: No space left on device",
         "Read of 512 bytes at offset 0 failed: No space left on device."),
        ("write -z -u 512 1024: Input/output error",
         "Write zeroes of 1024 bytes at offset 512 failed: Input/output error."),
        ("write -P 0x11 512 1024: Input/output error",
         "Write of 1024 bytes at offset 512 failed: Input/output error."),
        ("write of 512 bytes: odd", "Write of 512 bytes: odd."),
    ],
)  # fmt: skip
def test_a_command_of_qemu_io_is_a_sentence(runs: ModuleType, message: str, said: str) -> None:
    assert verdict(runs, message=message) == said


def test_a_history_names_the_stale_read(runs: ModuleType) -> None:
    accesses = [Access(3, True, 1, 0, 1, 1, 1), Access(3, False, 0, 2, 3, 2, 2)]
    found = verdict(runs, check(accesses)[0].finding)
    assert found.startswith("Sector 3: write #1 of client 1 was acknowledged at 0.000001 s;")


def diff(path: object) -> str:
    return f"--- {path}\n+++ 3.out.bad\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n"


def test_an_output_names_the_line_and_the_expected_file(runs: ModuleType) -> None:
    shipped = verdict(runs, details=diff(ROOT / "golden" / "3.out"), message="")
    assert shipped == (
        "Line 2 of the output differs from the expected output golden/3.out: expected 'b', got 'c'."
    )
    other = verdict(runs, details=diff("/elsewhere/3.out"), message="")
    assert "expected output /elsewhere/3.out, which is not the one that is shipped" in other


def test_an_output_that_lacks_a_line_or_has_one_too_many_says_so(runs: ModuleType) -> None:
    for lines, words in (
        ("-b", "The output lacks line 2 of the expected output: 'b'."),
        ("+c", "Line 2 of the output is not in the expected output: 'c'."),
        (
            "-b\n-d\n+c\n+e",
            "Line 2 of the output differs from the expected output: expected 'b', got 'c'.",
        ),
    ):
        found = verdict(runs, message="output differs", details=f"@@ -1,2 +1,1 @@\n a\n{lines}")
        assert found == words


def test_a_wrong_read_does_not_blame_the_write(runs: ModuleType) -> None:
    again = f"read again over a new connection: the data is right, {READ_WAS_WRONG}"
    finding = Finding(Damage.NEVER_WRITTEN, 1048064, 512, evidence=(again,))
    assert verdict(runs, finding) == (
        "A read is wrong, and the stored data is right: in the read, sector 2047"
        " (the last before 1 MiB) still has the prefill."
    )


def test_a_place_at_a_boundary_is_named() -> None:
    assert place_of(Finding(Damage.ZEROED, 1 << 30, 1024)) == (
        "sectors 2097152 to 2097153 (the first from 1 GiB on)"
    )
    assert place_of(Finding(Damage.ZEROED, 1 << 20, 1 << 20)) == "sectors 2048 to 4095"


def test_a_guest_that_read_wrong_says_what_decides(runs: ModuleType) -> None:
    found = verdict(
        runs,
        message="fio in the guest: /dev/vdb offset 4096, 8192 bytes: verify: bad magic header 0,"
        " wanted acca; wrong blocks in all: 1",
    )
    assert "wrote 8192 bytes at offset 4096 of /dev/vdb, and then read zeroes there" in found
    assert "lost if a second read" in found
    lost = verdict(runs, message="ext4 after the cut: LOST file1, LOST file2")
    assert lost.startswith("ext4 in a guest had synced file1, file2, and after a power cut")


def test_a_failure_of_which_little_is_known_has_its_text(runs: ModuleType) -> None:
    assert verdict(runs, message="the size is odd") == "The size is odd."


def test_what_a_power_cut_took_away_is_lost() -> None:
    cut = replace(LOST, life=(PREFILL, WRITE, FLUSH, CUT, READ))
    early = replace(LOST, life=(PREFILL, CUT, WRITE, READ))
    assert [one.damage for one in named([cut, LOST])] == [Damage.LOST] * 2
    assert [one.damage for one in named([early, LOST])] == [Damage.NEVER_WRITTEN] * 2
    assert text_of(named([cut])[0]).startswith("lost: prefill is still there, expected gen")


def test_other_data_names_the_writes_that_made_it() -> None:
    writes = (Operation(9, 2570, 10, "write"), Operation(7, 2500, 100, "write"),
              Operation(0, 0, 32768, "prefill"))  # fmt: skip
    finding = replace(LOST, expected=Content(What.DATA), last_writes=writes)
    assert parts_of(finding) == (
        "data of several writes: bytes 10 to 19 by write #9, bytes 0 to 39 by write #7, the rest by"
        " the prefill"
    )
    assert "expected data of several writes: bytes 10 to 19 by" in text_of(finding)
    assert not parts_of(replace(finding, expected=NEW))


def test_a_request_is_told_in_words() -> None:
    assert request_in_words("#88 read 628224+7674") == "read #88 of 7674 bytes at offset 628224"
    assert request_in_words("write zeroes 0+1") == "write zeroes of 1 byte at offset 0"
    assert request_in_words("after BLOCK_STATUS") == "after BLOCK_STATUS"


def test_a_lost_write_whose_data_is_elsewhere_went_to_the_wrong_place(runs: ModuleType) -> None:
    life = (PREFILL, WRITE, READ)
    found = verdict(runs, replace(LOST, life=life, found_at=6 * SECTOR))
    assert "went to the wrong place: sector 5 still has the prefill, and its data is 1" in found
    assert found.endswith("1 sector higher.")
    found = verdict(runs, replace(LOST, life=life, found_at=4 * SECTOR - 9))
    assert found.endswith("521 bytes lower.")


def test_a_long_line_of_an_output_is_narrowed_to_what_differs(runs: ModuleType) -> None:
    same = "  ".join(f"word{number}" for number in range(20))
    details = (
        f"--- golden/003_x.out\n+++ 003_x.out.bad\n@@ -1 +1 @@\n-{same} EPERM EPERM end\n"
        f"+{same} EIO EIO end\n"
    )
    found = verdict(runs, message="output differs", details=details)
    assert found.endswith("(from word 21 on): expected '... EPERM ...', got '... EIO ...'.")


def test_a_wrong_block_of_fio_has_the_second_read(runs: ModuleType) -> None:
    what = "verify: bad magic header 0, wanted acca"
    message = f"fio in the guest: /dev/vdb offset 8192, 4096 bytes: {what}"
    again = "read again over a new connection: zeroes, so the stored data is wrong"
    finding = Finding(
        Damage.ZEROED, 8192, 4096, request="fio in the guest, /dev/vdb", evidence=(again,)
    )
    found = verdict(runs, finding, message=message)
    assert found == (
        "Fio in a guest wrote 4096 bytes at offset 8192 of /dev/vdb, and then read zeroes there;"
        f" {again}."
    )


def test_zeroes_of_an_earlier_request_are_named(runs: ModuleType) -> None:
    zero = Moment("zero", 5, 2560, SECTOR, 0.5, "qemu-io.0")
    zeroed = replace(LOST, damage=Damage.ZEROED, seen=Content(What.ZEROES))
    found = verdict(runs, replace(zeroed, life=(PREFILL, zero, WRITE, FLUSH, CUT, READ)))
    assert found.endswith(
        "after a power cut sector 5 reads as zeroes, as after write zeroes #5 of 512 bytes at"
        " offset 2560, which came before."
    )
    small = replace(zero, length=100)
    for life in ((PREFILL, WRITE, READ), (PREFILL, small, WRITE, READ), (zero, WRITE, WRITE, READ)):
        assert "as after" not in verdict(runs, replace(zeroed, life=life))


def test_a_place_that_has_the_data_of_another_write_is_told_once(runs: ModuleType) -> None:
    remark = "misdirected: sectors 4 to 5 have write #113 of client 4, which was sent to sector 8"
    finding = Finding(Damage.MISDIRECTED, 4 * SECTOR, 2 * SECTOR, remark=remark)
    assert verdict(runs, finding) == (
        "Sectors 4 to 5 have write #113 of client 4, which was sent to sector 8."
    )


def test_a_cause_that_was_cut_off_keeps_its_dots(runs: ModuleType) -> None:
    long = "SET_VRING_ENABLE: the daemon ended the connection; " + "18 of 21 reads, " * 20
    found = verdict(runs, Finding(Damage.PROTOCOL, remark=long), message=long)
    assert found.endswith("...") and not found.endswith("....")


def test_a_change_of_another_volume_that_explains_a_sector_is_named(runs: ModuleType) -> None:
    discard = Operation(9, 2600, 100, "discard")
    fit = Fit(How.OTHERS, discard, discard, "clone c1 of snapshot s1")
    life, volume = (PREFILL, WRITE, TAKEN, READ), "snapshot s2 of disk"
    finding = Finding(Damage.NEWER, 5 * SECTOR, SECTOR, seen=Content(What.ZEROES), part=(40, 140),
                      life=life, volume=volume, fit=fit)  # fmt: skip
    assert verdict(runs, finding) == (
        "Sector 5 of snapshot s2 of disk has the newer contents (zeroes) at bytes 40 to 139: it is"
        " exactly what it would be if discard #9 of 100 bytes at offset 2600 of clone c1 of"
        " snapshot s1 had changed it, too."
    )


def test_the_change_that_is_missing_is_blamed_and_not_the_last_one(runs: ModuleType) -> None:
    later = replace(WRITE, number=8, offset=3000, length=10)
    missing = Fit(How.MISSING, Operation(7, 2500, 700, "write", 3))
    life = PREFILL, WRITE, later, READ
    finding = Finding(Damage.STALE, 5 * SECTOR, SECTOR, expected=Content(What.DATA), seen=OLD,
                      part=(0, 300), life=life, fit=missing)  # fmt: skip
    assert verdict(runs, finding).startswith("Write #7 of 700 bytes at offset 2500 was acknow")


def test_damage_that_several_reads_found_is_counted_once(runs: ModuleType) -> None:
    lost = replace(
        LOST, life=(PREFILL, WRITE, READ), last_writes=(Operation(7, 2500, 700, "write"),)
    )
    found = [lost, lost, replace(lost, length=2 * SECTOR)]
    assert verdict(runs, *found).endswith("; its last 640 of 700 bytes are damaged.")


def test_what_a_read_came_after_is_told_and_a_name_keeps_its_letters(runs: ModuleType) -> None:
    message = (
        "READ of 512 bytes at offset 0, after TRIM of 0 bytes at 8 differs from what was written:"
    )
    place = Finding(Damage.ZEROED, 0, SECTOR, expected=OLD, life=(PREFILL,))
    assert verdict(runs, place, message=message).endswith(
        "; this was read after TRIM of 0 bytes at 8."
    )
    status = Finding(Damage.STATUS, request="qbd:dirty", remark="sector 7 changed, but is clean")
    assert verdict(runs, status) == "qbd:dirty: sector 7 changed, but is clean."
