"""The parts of the page: map, bytes, details, causes and the bugs of a case, each from data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

from oracles.damage import Content, Damage, Difference, Operation, What
from oracles.finding import SECTOR, Finding
from qbdcheck.files import ROOT
from qbdcheck.report.page_bytes import comparison
from qbdcheck.report.page_case import guarded, related
from qbdcheck.report.page_causes import causes, main_finding, reasons_not_run
from qbdcheck.report.page_damage import COLOURS, MEANINGS, colour, hint, letter, second_reads
from qbdcheck.report.page_details import split_details
from qbdcheck.report.page_map import home_of, volume_map
from qbdcheck.verdict import Verdict

MIB = 1 << 20
PREFILL = Operation(0, 0, 8 * MIB, "prefill", 0)


def zeroed(offset: int, length: int, *writes: Operation) -> Finding:
    return Finding(Damage.ZEROED, offset, length, last_writes=(*writes, PREFILL))


def test_every_kind_of_damage_has_a_meaning_and_a_colour() -> None:
    assert set(MEANINGS) == set(Damage)
    style = (ROOT / "qbdcheck/report/page.css").read_text()
    for damage in Damage:
        assert f".swatch.{colour(damage)}, .share .{colour(damage)} " in style
        assert f"svg.map .{colour(damage)} " in style
    assert f"k{COLOURS}" not in style


def test_kinds_of_damage_with_a_place_are_told_apart_without_colours() -> None:
    letters = [letter(damage) for damage in Damage]
    assert letter("torn") == letter(Damage.TORN) == "T"
    assert letter("other failures") == letter(Damage.HANG) == ""
    assert len(set(filter(None, letters))) == len(list(filter(None, letters)))


def test_what_follows_from_other_damage_is_paler_and_has_no_kind_of_its_own() -> None:
    follower = replace(zeroed(3 * MIB, 4096), damage=Damage.STALE, follows="data of write #3")
    made = volume_map([zeroed(MIB, 512), follower])
    assert made is not None
    assert [name for _, name, _ in made.legend] == ["zeroed"]
    assert made.has_followers
    assert [bar.kind for bar in made.rows[0].damage] == ["k0", "k1 follows"]
    assert [bar.letter for bar in made.rows[-1].damage] == ["0"]


def test_the_second_reads_of_another_finding_name_its_sector() -> None:
    seen = replace(zeroed(MIB, 512), evidence=("read again over a new connection: the same",))
    assert second_reads([seen, zeroed(0, 512)]) == ["Read again over a new connection: the same."]
    assert second_reads([zeroed(0, 512), seen]) == [
        "Sector 2048: read again over a new connection: the same."
    ]
    assert second_reads([zeroed(0, 512)]) == []


def test_the_map_zooms_from_the_volume_to_the_first_damage() -> None:
    made = volume_map([zeroed(MIB, 512, Operation(3, MIB, 4096, "write")), zeroed(3 * MIB, 4096)])
    assert made is not None
    assert [row.heading for row in made.rows] == [
        "Whole volume, 8 MiB",
        "All damage: sectors 1842 to 6357",
        "First finding: sectors 2040 to 2056",
    ]
    whole, damage, first = made.rows
    assert [(bar.left, bar.kind) for bar in whole.damage] == [("12.500%", "k0"), ("37.500%", "k0")]
    assert whole.focus == ("11.243%", "38.806%")
    assert len(damage.damage) == 2
    assert [bar.left for bar in first.damage] == ["47.059%"]
    assert [bar.width for bar in first.writes] == ["47.059%"]
    assert first.focus is None
    assert [label for _, label in whole.marks][-1] == "0x800000"


def test_the_map_has_no_size_that_nobody_knows() -> None:
    made = volume_map([Finding(Damage.LOST, 4096, 512)])
    assert made is not None
    assert made.rows[0].heading == "Volume, up to the last known byte"
    assert volume_map([Finding(Damage.DIED)]) is None


def test_a_row_never_shows_more_than_the_row_above() -> None:
    made = volume_map([zeroed(20992, 512), zeroed(44032, 512)])
    assert made is not None
    assert [row.heading for row in made.rows[1:]] == [
        "All damage: sectors 38 to 89",
        "First finding: sectors 38 to 49",
    ]
    for row in made.rows:
        for bar in row.damage:
            assert 0 <= float(bar.left.rstrip("%")) <= 100
            assert float(bar.width.rstrip("%")) > 0
        for edge in row.focus or ():
            assert 0 <= float(edge.rstrip("%")) <= 100


def test_misplaced_data_is_shown_where_it_belongs() -> None:
    moved = Finding(Damage.MISDIRECTED, 8192, 512, moved=4096, last_writes=(PREFILL,))
    assert home_of(moved) == 4096
    assert home_of(Finding(Damage.SHIFTED, 8192, 512, moved=3)) is None
    made = volume_map([moved])
    assert made is not None
    assert made.has_home
    assert [bar.kind for bar in made.rows[0].damage] == ["k6", "home"]


def test_bytes_and_fields_that_differ_are_marked(runs: ModuleType) -> None:
    made = comparison(runs.FINDINGS[0])
    assert made is not None
    assert [(cell.hex, cell.differs) for cell in made.rows[0].expected] == [("07", True)]
    assert [(name, differs) for name, _, _, differs in made.fields] == [
        ("sector", False), ("generation", True), ("operation", True), ("writer", False),
        ("run", False), ("volume", False),
    ]  # fmt: skip
    moved = comparison(replace(runs.FINDINGS[0], damage=Damage.MISDIRECTED, moved=4096))
    assert moved is not None
    name, expected, seen, differs = moved.fields[0]
    assert (name, int(expected) - int(seen), differs) == ("sector", 8, True)
    short = comparison(Finding(Damage.LENGTH, difference=Difference(7, b"Ab\x00", b"A")))
    assert short is not None
    assert [(one.char, one.differs) for one in short.rows[0].expected] == [
        ("A", False), ("b", True), (".", True),
    ]  # fmt: skip
    assert len(short.rows[0].seen) == 1
    assert comparison(Finding(Damage.SIZE, seen=Content(What.BYTES, number=3))) is None


def test_the_bytes_of_a_sector_are_shown_at_the_difference_and_at_the_tear() -> None:
    old, new = bytes(SECTOR), bytes(range(1, 251)) + bytes(range(1, 263 - 12))
    new = (new + b"x" * SECTOR)[:SECTOR]
    torn = old[:200] + new[200:]
    whole = Difference(7 * SECTOR, new, torn)
    made = comparison(
        Finding(
            Damage.TORN, 7 * SECTOR, SECTOR, part=(0, 200),
            difference=Difference(7 * SECTOR, new[:16], torn[:16]), sector_bytes=whole,
        )
    )  # fmt: skip
    assert made is not None
    assert [row.offset - 7 * SECTOR for row in made.rows] == [0, 16, 32, 176, 192, 208]
    assert [row.left_out for row in made.rows] == [0, 0, 0, 8, 0, 0]
    assert made.rows[4].note == "the part that does not fit the rest ends at byte 200 of the sector"
    assert [cell.differs for cell in made.rows[4].seen] == [True] * 8 + [False] * 8
    assert (len(made.whole), made.left_out) == (32, 18)


def test_rows_of_a_sector_that_was_read_from_its_middle_end_at_16_bytes() -> None:
    whole = Difference(1000, b"a" * 24, b"a" * 23 + b"b")
    made = comparison(
        Finding(Damage.ALTERED, 1000, 24, difference=Difference(1023, b"a", b"b"),
                sector_bytes=whole)
    )  # fmt: skip
    assert made is not None
    assert [(row.offset, len(row.seen)) for row in made.rows] == [(1000, 8), (1008, 16)]


DETAILS = """\
/repo/suites/iotests/003_x.py:20: in test
    disk.verify()
/repo/qbdcheck/kit/golden.py:7: in compare
    raise GoldenDiffers(text)
E   qbdcheck.kit.GoldenDiffers: output differs
E   --- golden/003_x.out
E   +++ 003_x.out.bad
E   @@ -1,2 +1,2 @@
E    Offset
E   -0 data
E   +0 hole
E
E   that was all"""


def test_details_are_split_into_error_diff_and_frames() -> None:
    made = split_details(DETAILS)
    assert made.error == "qbdcheck.kit.GoldenDiffers: output differs\n\nthat was all"
    assert [line.kind for line in made.diff] == ["file", "file", "hunk", "same", "gone", "added"]
    assert made.diff[-1].text == "+0 hole"
    assert made.diff[-1].parts == (("+", False), ("0", False), (" ", False), ("hole", True))
    assert made.frames.count("\n") == 3
    assert "raise GoldenDiffers" in made.frames
    plain = split_details("no frames\n- a list\n+ of things")
    assert plain.error == "no frames\n- a list\n+ of things"
    assert not plain.diff


def test_causes_are_groups_and_the_largest_is_first(runs: ModuleType) -> None:
    diff = "--- a\n+++ b\n@@ -1 +1 @@\n-x\n+y\n"
    cases = [
        runs.ended(1, Verdict.FAIL, details=diff),
        runs.ended(2, Verdict.BROKEN, message="no port 10811 here"),
        runs.ended(3, Verdict.FAIL, findings=(zeroed(0, 512),)),
        runs.ended(4, Verdict.FAIL, findings=(Finding(Damage.DIED), zeroed(512, 512))),
        runs.ended(5, Verdict.PASS),
        runs.ended(6, Verdict.BROKEN, message="no port 10812 here"),
        runs.ended(7, Verdict.FAIL, findings=(zeroed(0, 512),)),
    ]
    found = causes(cases)
    assert [(one.name, [case.number for case in one.cases], one.share) for one in found] == [
        ("zeroed", [3, 4, 7], 50),
        ("broken", [2, 6], 33),
        ("output differs", [1], 17),
    ]
    assert found[1].meaning == "no port 10811 here"


def test_misplaced_data_explains_what_is_missing_elsewhere(runs: ModuleType) -> None:
    moved = Finding(Damage.MISDIRECTED, 8192, 512, moved=4096)
    case = runs.ended(1, Verdict.FAIL, findings=(zeroed(4096, 512), moved))
    assert main_finding(case) is moved


def test_reasons_have_their_cases_and_the_most_frequent_is_first(runs: ModuleType) -> None:
    cases = [
        runs.ended(1, Verdict.NOT_RUN, reasons=("no fio",)),
        runs.ended(2, Verdict.NOT_RUN, reasons=("no kill", "no tape")),
        runs.ended(3, Verdict.NOT_RUN, reasons=("no tape",)),
        runs.ended(4, Verdict.FAIL),
    ]
    found = [(why, [one.number for one in having]) for why, having in reasons_not_run(cases)]
    assert found == [("no tape", [2, 3]), ("no fio", [1]), ("no kill", [2])]


def test_the_bugs_of_a_case_have_their_meaning(tmp_path: Path) -> None:
    case = tmp_path / "001_x.py"
    case.write_text('"""This case checks that x.\n\nGuards: phantom-write, not-listed.\n"""\n')
    assert guarded(case) == [
        ("phantom-write", "a write is acknowledged and never executed"),
        ("not-listed", ""),
    ]
    assert guarded(tmp_path / "gone.py") == []
    case.write_text("no (python")
    assert guarded(case) == []


def test_related_bugs_are_not_those_that_a_case_guards_against(tmp_path: Path) -> None:
    case = tmp_path / "001_x.py"
    case.write_text('"""Writes.\n\nGuards: not-listed.\nRelated: phantom-write,\nno-other.\n"""\n')
    assert guarded(case) == [("not-listed", "")]
    meaning = "a write is acknowledged and never executed"
    assert related(case) == [("phantom-write", meaning), ("no-other", "")]


def test_the_map_shows_holes_and_generations() -> None:
    write = Operation(3, MIB, 4096, "write", 9)
    allocation = ((0, MIB, True), (MIB, 7 * MIB, False))
    one = zeroed(MIB, 512, write)
    made = volume_map([replace(one, allocation=allocation), one])
    assert made is not None
    assert made.has_allocation
    whole = made.rows[0]
    assert [(bar.kind, bar.left, bar.width) for bar in whole.allocation] == [
        ("hole", "0.000%", "12.500%"),
        ("data", "12.500%", "87.500%"),
    ]
    assert [bar.title for bar in whole.writes] == ["#3 write 1048576+4096, generation 9"]


def test_words_of_guest_programs_are_explained() -> None:
    assert "reads as zeroes" in hint("/dev/vdb offset 0: verify: bad magic header 0, wanted acca")
    assert "not of fio" in hint("verify: bad magic header a83f, wanted acca")
    assert "synced" in hint("ext4 after the cut: LOST file1, LOST file2")
    assert not hint("output line 3")
