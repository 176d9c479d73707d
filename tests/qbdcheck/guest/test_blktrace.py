"""Output of blkparse and btt, printed by blktrace 1.3 in a guest, and other forms of it."""

from pathlib import Path

import pytest

from qbdcheck.guest.blktrace import (
    STAGES,
    Latency,
    TraceError,
    TraceTotals,
    dropped,
    parse_btt,
    parse_events,
    parse_totals,
    summary,
)

SAVED = Path(__file__).parent / "saved"
EVENTS = (SAVED / "blkparse.txt").read_text()
BTT = (SAVED / "btt.avg").read_text()


def test_events_are_typed() -> None:
    first, *rest = parse_events(EVENTS)
    assert first.model_dump() == {
        "device": "254,16", "cpu": 0, "sequence": 1, "at_s": 0.0, "pid": 142, "action": "Q",
        "rwbs": "R", "sector": 488, "sectors": 8, "process": "fio", "error": 0,
    }  # fmt: skip
    assert rest[2].process == "kworker/0:1H"
    assert (rest[3].action, rest[3].error, rest[3].process) == ("C", 0, "")


def test_plugging_has_no_sector() -> None:
    plug = next(one for one in parse_events(EVENTS) if one.action == "P")
    assert (plug.sector, plug.sectors, plug.rwbs, plug.process) == (None, 0, "N", "fio")


def test_a_completion_may_have_an_error() -> None:
    (event,) = parse_events("254,16   0      7     0.004000000   142  C  WS 8 + 8 [-5]")
    assert event.error == -5


def test_totals_are_in_bytes() -> None:
    assert parse_totals(EVENTS) == TraceTotals(
        reads_queued=501, read_bytes=7104 << 10, writes_queued=528, written_bytes=2112 << 10,
        reads_completed=501, writes_completed=528,
    )  # fmt: skip


def test_with_several_cpus_the_total_block_counts() -> None:
    text = block("CPU0 (t)", 1, 4) + block("CPU1 (t)", 2, 5) + block("Total (t)", 3, 7)
    totals = parse_totals(text)
    assert (totals.reads_queued, totals.writes_queued) == (3, 7)


def block(name: str, reads: int, writes: int) -> str:
    kinds = ("Queued", "Dispatches", "Requeued", "Completed", "Merges")
    lines = (
        f" {'Read' if kind in ('Dispatches', 'Merges') else 'Reads'} {kind}: {reads:,}, "
        f"{reads * 4:,}KiB\t {'Write' if kind in ('Dispatches', 'Merges') else 'Writes'} {kind}:"
        f" {writes:,}, {writes * 4:,}KiB\n"
        for kind in kinds
    )
    return f"{name}:\n{''.join(lines)} IO unplugs: 9,999\n\n"


def test_totals_have_commas_between_thousands() -> None:
    totals = parse_totals(block("Total (8,16)", 1_234_567, 89_012))
    assert (totals.reads_queued, totals.read_bytes) == (1_234_567, 1_234_567 * 4096)
    assert (totals.writes_completed, totals.written_bytes) == (89_012, 89_012 * 4096)
    assert (totals.merges, totals.requeued) == (1_323_579, 1_323_579)
    text = block("Total (8,16)", 1, 7).replace(" 7, 28KiB", " 7, 28MiB")
    assert parse_totals(text).written_bytes == 28 << 20


@pytest.mark.parametrize("name", ["Reads Queued", "Writes Completed", "Write Merges"])
def test_a_counter_that_is_missing_is_named(name: str) -> None:
    text = block("Total (8,16)", 1, 2).replace(name, "Other")
    with pytest.raises(TraceError, match=f"no '{name.replace('Write M', 'Writes M')}'"):
        parse_totals(text)


def test_events_of_zones_partitions_and_threads() -> None:
    lines = [
        "8,0 0 1 0.1 10 I ZAS N 512 + 8 [writer]", "8,0 0 2 0.2 10 A R 24 + 8 <- (8,2) 16",
        "8,0 0 3 0.3 10 Q R 24 + 8 [a [b] c]", "8,0 0 4 0.4 0 C ZAS N 512 + 8 [0] <520>",
        "8,0 0 0 0.5 0 m N bfq99 / idle",
    ]  # fmt: skip
    events = list(parse_events("\n".join(lines)))
    assert [(one.action, one.sector, one.process) for one in events] == [
        ("I", 512, "writer"), ("A", 24, ""), ("Q", 24, "a [b] c"), ("C", 512, ""),
    ]  # fmt: skip
    with pytest.raises(TraceError, match=r"not understood: '8,0 0 6 0\.6 9 \? R 1 \+ 8'"):
        list(parse_events("8,0 0 6 0.6 9 ? R 1 + 8"))


def test_stages_of_device_mapper_stand_beside_the_others() -> None:
    row = "{} 0.000001000 0.{:09} 0.100000000 5\n"
    rows = "".join(row.format(name, at) for at, name in enumerate(("Q2Q", "Q2Qdm", "Q2C", "Q2Cdm")))
    found = parse_btt(f"== All Devices ==\n{rows}")
    assert [round(one.mean_s * 1e9) for one in found.values()] == [0, 1, 2, 3]
    assert found["Q2Cdm"].count == 5
    with pytest.raises(TraceError, match="btt not understood: 'D2C 1,5"):
        parse_btt(f"== All Devices ==\n{rows}D2C 1,5 2 3 4\n")


def test_latencies_are_those_of_all_devices() -> None:
    found = parse_btt(BTT)
    assert found["D2C"] == Latency(
        stage="D2C", least_s=0.000047981, mean_s=0.000645975, most_s=0.009468460, count=1029
    )
    assert set(found) == {"Q2Q", "Q2C", "Q2G", "G2I", "I2D", "D2C"}
    assert set(found) <= set(STAGES)


def test_a_line_sums_it_up() -> None:
    assert summary(parse_btt(BTT), parse_totals(EVENTS)) == (
        "501 reads, 528 writes, Q2C 0.69 ms (max 9.5), Q2G 2%, G2I 1%, I2D 3%, D2C 94%"
    )


def test_dropped_events_are_counted() -> None:
    assert dropped("=== vdb ===\n  Total:   6307 events (dropped 0),      296 KiB data\n") == 0
    assert dropped("  Total:   6307 events (dropped 12),      296 KiB data\n") == 12
    with pytest.raises(TraceError, match="did not end normally"):
        dropped("")


@pytest.mark.parametrize("text", ["", "nonsense", BTT.replace("2", "x")])
def test_text_that_is_not_output_of_btt_is_refused(text: str) -> None:
    with pytest.raises(TraceError, match="All Devices"):
        parse_btt(text)


def test_missing_totals_are_reported() -> None:
    with pytest.raises(TraceError, match="cut off"):
        parse_totals(EVENTS[:500])


TALK = """253,16 1 1 0.000000000 3180 Q R 2147483520 + 8 [systemd-udevd]\tD
253,16 1 2 0.000001260 3180 G R 2147483520 + 8 [systemd-udevd]\tc
253,16 1 3 0.000002336 3180 P N [systemd-udevd]\ts
253,16 1 4 0.000003088 3180 U N [systemd-udevd] 1\tT
253,16 1 5 0.000003260 3180 I RS 2147483520 + 8 [systemd-udevd]\tt
253,16 1 6 0.000003636 3180 D RS 2147483520 + 8 [systemd-udevd]\tp
253,16 1 7 0.000504532 0 C RS 2147483520 + 8 [0]\ta
253,16 1 8 0.000516748 3180 Q R 2147483632 + 8 [systemd-udevd]\tAction
"""
TALK_BTT = """===== All Devices =====
            ALL           MIN           AVG           MAX           N
Q2Qdm\t0.000002931\t0.000010542\t0.103742442\t782231
Q2Cdm\t0.000064612\t0.000133993\t0.008394993\t782216
Q2G\t0.000000102\t0.000000244\t0.000038303\t782232
G2I\t0.000000043\t0.000000784\t0.000072435\t782232
I2D\t0.000000098\t0.000000200\t0.000038383\t782232
D2C\t0.000063607\t0.000132765\t0.008394041\t782216
"""


def test_the_text_of_the_talk() -> None:
    """The output on the slide of the QEMU talk (CLK 2017), with its letters."""
    events = list(parse_events(TALK))
    assert [one.action for one in events] == list("QGPUIDCQ")
    assert {one.sector for one in events} == {2147483520, None, 2147483632}
    assert events[6].error == 0
    assert events[6].at_s - events[5].at_s == pytest.approx(0.000500896)
    found = parse_btt(TALK_BTT)
    assert found["Q2C"].mean_s == 0.000133993
    assert found["D2C"].count == 782216
    assert found["Q2Q"].most_s == 0.103742442
    line = summary(found, TraceTotals(writes_completed=782216))
    assert line == (
        "0 reads, 782216 writes, Q2C 0.13 ms (max 8.4), Q2G 0%, G2I 1%, I2D 0%, D2C 99%"
    )
