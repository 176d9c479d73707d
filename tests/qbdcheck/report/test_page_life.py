"""The picture of a sector's life, and the script that is made of it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from oracles.damage import Content, Damage, What
from oracles.finding import READ_WAS_WRONG, SECTOR, Finding
from oracles.life import DIFFERED, KILLED, NOT_JUDGED, Moment
from oracles.linearizability import Access, check
from oracles.scripts import Script, Step
from oracles.shadow import Shadow
from oracles.stamps import Identity
from qbdcheck.report.page_life import RIGHT, life_of
from qbdcheck.report.page_script import script_of, why_no_script

WRITE = Moment("write", 7, 5 * SECTOR, SECTOR, 1.0, "qemu-io.0", 3)
LOST = Finding(
    Damage.NEVER_WRITTEN,
    5 * SECTOR,
    SECTOR,
    expected=Content(What.STAMP, 3, 7, 0, 1, 2),
    seen=Content(What.STAMP, 0, 0, 0, 1, 2),
    life=(
        Moment("prefill", 0, 0, 64 * SECTOR, 0.0, generation=0),
        Moment("flush", at_s=0.5),
        WRITE,
        Moment("flush", at_s=2.0),
        Moment("cut", at_s=3.0),
        Moment("read", 0, 0, 64 * SECTOR, 4.0, "qemu-img"),
    ),
)


def test_each_connection_has_a_lane_and_each_event_a_mark() -> None:
    life = life_of(LOST)
    assert life
    assert [name for name, _ in life.lanes] == ["volume", "qemu-io.0", "qemu-img"]
    assert [(one.kind, one.role) for one in life.marks] == [
        ("prefill", ""),
        ("flush", ""),
        ("write", "lost"),
        ("flush", "culprit"),
        ("cut", ""),
        ("read", "saw"),
    ]
    assert life.marks[2].title.splitlines() == [
        "write #7",
        "at 1.000000 s",
        "512 bytes at 2560, sectors 5 to 5",
        "qemu-io.0",
        "is gone",
    ]
    assert life.lines[3].cells[4] == "did not make this write durable"
    assert [one.x for one in life.marks] == sorted(one.x for one in life.marks)


def test_a_long_life_shows_the_end_and_the_culprit() -> None:
    many = [replace(WRITE, number=100 + n) for n in range(300)]
    reads = tuple(Moment("read", 0, 5 * SECTOR, SECTOR, 5.0, "q") for _ in range(300))
    life = life_of(replace(LOST, life=(*many, *LOST.life, *reads)))
    assert life
    assert len(life.marks) <= 52
    assert life.left_out + len(life.marks) == 606
    assert "culprit" in {one.role for one in life.marks}


def test_a_change_in_a_volume_that_shares_data_has_a_lane_of_its_own() -> None:
    parent = replace(WRITE, number=31, at_s=3.5, lane="disk")
    early = replace(parent, number=30, at_s=0.7)
    life = life_of(replace(LOST, relatives=(early, parent), volume="snapshot s0 of disk"))
    assert life
    assert [name for name, _ in life.lanes] == ["volume", "in disk", "qemu-io.0", "qemu-img"]
    assert [(one.kind, one.number, one.role) for one in life.marks] == [
        ("prefill", "", ""),
        ("flush", "", ""),
        ("write", "#30", ""),
        ("write", "#7", "lost"),
        ("flush", "", "culprit"),
        ("cut", "", ""),
        ("write", "#31", ""),
        ("read", "", "saw"),
    ]
    assert life.lines[6].cells[:3] == ("3.500000", "write #31", "in disk")
    assert life.caption == (
        "All 8 events: 6 in snapshot s0 of disk, and 2 changes of the same place in disk, whose"
        " other events are left out"
    )


def test_the_caption_says_of_how_many_events_the_table_has_the_last() -> None:
    life = life_of(replace(LOST, not_listed=14))
    assert life
    assert life.caption == "The last 6 of 20 events"
    life = life_of(LOST)
    assert life
    assert life.caption == "All 6 events"


def test_a_flush_that_was_not_sent_is_in_the_table_alone() -> None:
    told = replace(LOST.life[3], kind="durable", text="with the write cache off")
    life = life_of(replace(LOST, life=(*LOST.life[:3], told, *LOST.life[4:])))
    assert life
    assert [one.kind for one in life.marks] == ["prefill", "flush", "write", "cut", "read"]
    assert life.lines[3].cells[1] == "durable without a flush, with the write cache off"
    assert life.caption == "All 6 events, 1 of them not in the picture"


def test_long_names_of_lanes_do_not_reach_into_the_picture() -> None:
    parent = replace(WRITE, lane="a clone with a very long name")
    life = life_of(replace(LOST, relatives=(parent,)))
    assert life
    assert min(one.x for one in life.marks) - 11 > life.right > 6 * len("in a clone with a very")


def test_volumes_with_the_same_first_name_keep_their_whole_names() -> None:
    names = ("snapshot s1 of disk", "snapshot s1 of c3", "clone c5 of snapshot s4 of c3")
    life = life_of(replace(LOST, relatives=tuple(replace(WRITE, lane=name) for name in names)))
    assert life
    assert [name for name, _ in life.lanes][2:5] == [
        "in snapshot s1 of disk", "in snapshot s1 of c3", "in clone c5",
    ]  # fmt: skip


def test_without_a_record_there_is_no_picture() -> None:
    assert life_of(replace(LOST, life=())) is None
    assert script_of((), replace(LOST, life=())) is None


def test_the_read_that_returned_an_old_value_is_marked() -> None:
    accesses = [
        Access(3, True, 1, 0, 1, 1, 11),
        Access(3, True, 2, 2, 3, 2, 12),
        Access(3, False, 2, 4, 5, 3, 13),
        Access(3, False, 1, 6, 7, 4, 14),
    ]
    [anomaly] = check(accesses)
    finding = anomaly.finding
    assert finding.remark == (
        "write #2 (request 12) of client 2 was acknowledged at 0.000003 s; 3 us later, client 4"
        " read the older write #1 (request 11), by request 14 at 0.000006 s; #2 is not lost:"
        " client 3 read it before (request 13)"
    )
    life = life_of(finding)
    assert life
    [marked] = [one for one in life.marks if one.role == "culprit"]
    assert marked.number == "#1"
    assert "client 4" in marked.title
    assert not any(re.search("nan|never", line) for line in finding.evidence)


def test_the_script_has_the_steps_of_the_life(tmp_path: Path) -> None:
    offered = script_of((), LOST)
    assert offered
    path = tmp_path / "script.yaml"
    path.write_text(offered.replay)
    steps = [str(step) for step in Script.read(path).steps]
    assert steps == ["write 2560+512", "flush", "power-cut 0", "read 0+32768"]
    assert "qemu-io" in offered.qemu_io
    assert offered.state == "not run"
    assert offered.about.endswith("it leaves out all requests to other places.")


def test_a_script_that_was_not_run_says_what_it_leaves_out() -> None:
    asked = Moment("status", 0, 2560, 512, 1.5, "qemu-img")
    offered = script_of((), replace(LOST, life=(*LOST.life[:3], asked, asked, *LOST.life[3:])))
    assert offered
    assert "it leaves out 2 block status requests, all requests to other" in offered.about


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        (
            Moment("snapshot", at_s=1.5, text="snapshot s0 of disk was taken"),
            "what was done with snapshots and clones (snapshot s0 of disk was taken)",
        ),
        (Moment("restart", at_s=1.5), "the stop and start of the server"),
        (Moment("resize", 0, 0, 4096, 1.5, text="from 65536 to 4096 bytes"), "the resize"),
        (Moment("fault", at_s=1.5, text="EIO"), "the injected fault"),
        (
            Moment("zero", 9, 2560, 512, 1.5),
            "the flags of the write zeroes requests, which are not recorded",
        ),
    ],
)
def test_a_script_that_lacks_what_the_damage_needs_is_none(moment: Moment, words: str) -> None:
    found = replace(LOST, life=(*LOST.life[:3], moment, *LOST.life[3:]))
    assert script_of((), found) is None
    assert why_no_script((), found) == f"it would leave out {words}"


def test_a_script_cannot_change_the_parent_of_a_snapshot() -> None:
    found = replace(LOST, relatives=(replace(WRITE, lane="disk"),))
    assert why_no_script((), found) == (
        "it would leave out the changes of other volumes that share data with it"
    )


def test_a_wrong_answer_has_no_script_of_data() -> None:
    failed = replace(LOST, damage=Damage.ERROR, length=0, asked=(2560, 512))
    assert why_no_script((), failed).startswith("it would leave out the request that failed")
    status = replace(LOST, damage=Damage.STATUS)
    assert why_no_script((), status) == "it would leave out the block status that is wrong"


def test_a_script_of_the_case_says_what_the_case_saw(tmp_path: Path) -> None:
    kept = Script(65536, (Step("write", 0, 512),), "step 1: zeroed, expected generation 1")
    (tmp_path / "script.yaml").write_text(kept.to_yaml())
    (tmp_path / "script.sh").write_text("y")
    offered = script_of((str(tmp_path),), LOST)
    assert offered
    assert (offered.state, offered.saw) == ("run by the case: failed", kept.about)


@pytest.mark.parametrize("length", [10, 40_000])
def test_a_script_that_the_case_left_comes_first(tmp_path: Path, length: int) -> None:
    (tmp_path / "script.yaml").write_text("x" * length)
    (tmp_path / "script.sh").write_text("y")
    offered = script_of((str(tmp_path),), LOST)
    assert offered
    assert (offered.replay == "x" * length) == (length < 32 << 10)


def test_a_fault_between_connections_has_no_script_of_one_connection() -> None:
    read = replace(WRITE, kind="read", number=8)
    other = replace(read, number=9, lane="qemu-io.1")
    prefill = LOST.life[0]
    assert script_of((), replace(LOST, life=(prefill, WRITE, other)))
    assert script_of((), replace(LOST, life=(prefill, WRITE, read, other))) is None
    [anomaly] = check([Access(3, True, 1, 0, 1, 1, 1), Access(3, False, 0, 2, 3, 2, 2)])
    assert script_of((), anomaly.finding) is None


def test_zeroes_of_which_the_flags_are_not_known_have_no_script() -> None:
    life = (LOST.life[0], replace(WRITE, kind="zero"), *LOST.life[3:])
    assert script_of((), replace(LOST, life=life)) is None


def test_a_script_closes_the_connection_and_kills_the_server_where_the_case_did() -> None:
    close, read = Moment("close", at_s=1.5, lane="qemu-io.0"), LOST.life[-1]
    offered = script_of((), replace(LOST, life=(*LOST.life[:3], close, read)))
    assert offered is not None
    assert "{do: reopen}" in offered.replay
    life = life_of(replace(LOST, life=(*LOST.life[:3], close, read)))
    assert life is not None
    assert [(one.kind, one.letter) for one in life.marks][3] == ("close", "X")
    killed = replace(LOST.life[4], text=KILLED)
    offered = script_of((), replace(LOST, life=(*LOST.life[:4], killed, read)))
    assert offered is not None
    assert "{do: kill}" in offered.replay


def test_a_stop_of_the_server_has_a_mark_and_no_script() -> None:
    stop = Moment("restart", at_s=1.5)
    found = replace(LOST, life=(*LOST.life[:3], stop, LOST.life[-1]))
    assert script_of((), found) is None
    life = life_of(found)
    assert life is not None
    assert [one.cells[1] for one in life.lines][3] == "server stopped and started"


def test_a_script_repeats_a_power_cut_with_its_seed() -> None:
    shadow = Shadow(64 * SECTOR, Identity(1, 2))
    old = shadow.prefill()[5 * SECTOR : 6 * SECTOR].tobytes()
    shadow.write(5 * SECTOR, shadow.stamped(5 * SECTOR, SECTOR))
    shadow.flush()
    shadow.power_cut(77)
    shadow.history.note("read", 5 * SECTOR, SECTOR)
    (finding,) = shadow.check(5 * SECTOR, old)
    offered = script_of((), finding)
    assert offered is not None
    assert "{do: power-cut, seed: 77}" in offered.replay
    life = life_of(finding)
    assert life is not None
    assert "seed 77" in [line.cells[4] for line in life.lines if line.cells[1] == "power cut"]


def test_reads_that_were_right_are_told_from_the_one_that_saw_the_damage() -> None:
    read = Moment("read", 0, 5 * SECTOR, SECTOR, 5.0, "q")
    texts = ["", NOT_JUDGED, DIFFERED, ""]
    reads = tuple(replace(read, text=text) for text in texts)
    life = life_of(replace(LOST, life=(WRITE, *reads)))
    assert life
    assert [line.cells[4] for line in life.lines[1:]] == [
        "was right", NOT_JUDGED, DIFFERED, "saw the damage",
    ]  # fmt: skip
    assert [one.role for one in life.marks][1:] == [RIGHT, "", "", "saw"]


def test_where_only_the_read_was_wrong_no_write_is_to_blame() -> None:
    again = (f"read again over a new connection: the data is right, {READ_WAS_WRONG}",)
    life = life_of(replace(LOST, evidence=again))
    assert life
    assert life.sentence == ""
    assert {one.role for one in life.marks} <= {"", "saw", RIGHT}


def test_each_mark_has_the_time_since_the_one_before() -> None:
    life = life_of(LOST)
    assert life
    assert [one.later for one in life.marks] == ["", "500ms", "500ms", *["1.0s"] * 3]
    times = (1.0, 1.0000024, 1.0031, 1.0031, None)
    moments = tuple(replace(WRITE, number=number, at_s=at) for number, at in enumerate(times, 7))
    life = life_of(replace(LOST, life=moments))
    assert life
    assert [one.later for one in life.marks] == ["", "2.4us", "3.1ms", "", ""]
