"""Output of blkparse and btt, as a guest's blktrace 1.3 printed it."""

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


def test_plugging_is_of_no_sector() -> None:
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


def test_of_several_cpus_the_block_of_all_counts() -> None:
    one = "CPU{} (t):\n Reads Queued: {}, 4KiB\t Writes Queued: 0, 0KiB\n"
    text = one.format(0, 1) + one.format(1, 2)
    text += "\nTotal (t):\n Reads Queued: 3, 12KiB\t Writes Queued: 7, 28KiB\n"
    totals = parse_totals(text)
    assert (totals.reads_queued, totals.writes_queued) == (3, 7)


def test_latencies_are_of_all_devices() -> None:
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


def test_what_blktrace_lost_is_told() -> None:
    assert dropped("=== vdb ===\n  Total:   6307 events (dropped 0),      296 KiB data\n") == 0
    assert dropped("  Total:   6307 events (dropped 12),      296 KiB data\n") == 12


@pytest.mark.parametrize("text", ["", "nonsense", BTT.replace("2", "x")])
def test_no_output_of_btt_is_said(text: str) -> None:
    with pytest.raises(TraceError, match="All Devices"):
        parse_btt(text)


def test_no_totals_are_said() -> None:
    with pytest.raises(TraceError, match="cut off"):
        parse_totals(EVENTS[:500])
