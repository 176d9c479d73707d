"""What blktrace's programs say of a disk, typed: blkparse's events and totals, btt's latencies.

References: blkparse(1), "Trace actions" and "Default output"; btt(1), "All Devices". Times are in
seconds, sectors of 512 bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pydantic import BaseModel, ConfigDict

ACTIONS = {
    "Q": "queued", "G": "got a request", "I": "inserted", "D": "issued", "C": "completed",
    "M": "merged at the back", "F": "merged at the front", "P": "plugged", "U": "unplugged",
    "UT": "unplugged by timer", "R": "requeued", "S": "slept", "X": "split", "A": "remapped",
    "B": "bounced", "T": "timer",
}  # fmt: skip
"""The letters of blkparse(1)."""
STAGES = ("Q2Q", "Q2C", "Q2G", "G2I", "Q2M", "I2D", "M2D", "D2C")
"""btt's: from queued (Q) over got (G), inserted (I), merged (M), issued (D) to completed (C)."""
_EVENT = re.compile(
    r"^\s*(?P<device>\d+,\d+)\s+(?P<cpu>\d+)\s+(?P<sequence>\d+)\s+(?P<at_s>\d+\.\d+)\s+"
    r"(?P<pid>\d+)\s+(?P<action>[A-Z]{1,2})\s+(?P<rwbs>[A-Z]+)(?:\s+(?P<rest>.*))?$"
)
_PLACE = re.compile(r"(?P<sector>\d+) \+ (?P<sectors>\d+)")
_NAME = re.compile(r"\[(?P<name>[^\]]*)\]")
_TOTAL = re.compile(
    r"\b(?P<way>Reads?|Writes?) (?P<what>Queued|Dispatches|Requeued|Completed|Merges):"
    r"\s+(?P<count>\d+)(?:,\s+(?P<kib>\d+)KiB)?"
)
_LATENCY = re.compile(
    r"^(?P<stage>[A-Z]2[A-Z])(?:dm)?\s+(?P<least_s>\d+\.\d+)\s+(?P<mean_s>\d+\.\d+)\s+"
    r"(?P<most_s>\d+\.\d+)\s+(?P<count>\d+)\s*$",
    re.MULTILINE,
)
_DROPPED = re.compile(r"dropped (?P<count>\d+)")


class TraceError(ValueError):
    """This is no output of blkparse or btt; says why."""


class TraceEvent(BaseModel):
    """One action on one request.

    :ivar action: a letter of ACTIONS. ``rwbs``: R read, W write, D discard, F flush, N none, S
        sync, A readahead, M metadata, as blkparse(1) has it.
    :ivar sector: None where the action is of no place, as plugging.
    :ivar error: the errno of a completion, 0 if it went well.
    """

    model_config = ConfigDict(frozen=True)

    device: str
    cpu: int
    sequence: int
    at_s: float
    pid: int
    action: str
    rwbs: str
    sector: int | None = None
    sectors: int = 0
    process: str = ""
    error: int = 0


class TraceTotals(BaseModel):
    """What blkparse counted, of all CPUs: requests and bytes."""

    model_config = ConfigDict(frozen=True)

    reads_queued: int = 0
    read_bytes: int = 0
    writes_queued: int = 0
    written_bytes: int = 0
    reads_completed: int = 0
    writes_completed: int = 0
    merges: int = 0
    requeued: int = 0


class Latency(BaseModel):
    """Seconds from one stage to the next, of so many requests."""

    model_config = ConfigDict(frozen=True)

    stage: str
    least_s: float
    mean_s: float
    most_s: float
    count: int


def parse_events(text: str) -> Iterator[TraceEvent]:
    """Yield the events of blkparse's default output, in its order; other lines are passed over."""
    for line in text.splitlines():
        if found := _EVENT.match(line):
            fields: dict[str, object] = {
                key: found[key] for key in ("device", "cpu", "sequence", "at_s", "pid")
            }
            rest = found["rest"] or ""
            if place := _PLACE.search(rest):
                fields |= {"sector": place["sector"], "sectors": place["sectors"]}
            if name := _NAME.search(rest):
                # Of a completion the error stands where else the program's name is.
                key = "error" if found["action"] == "C" and _is_number(name["name"]) else "process"
                fields[key] = name["name"]
            yield TraceEvent.model_validate(
                {**fields, "action": found["action"], "rwbs": found["rwbs"]}
            )


def _is_number(text: str) -> bool:
    return text.removeprefix("-").isdigit()


def parse_totals(text: str) -> TraceTotals:
    """Return the totals that blkparse printed below the events.

    With several CPUs it prints a block for each, and one for all, which is the last.

    :raise TraceError: there are none.
    """
    blocks = re.split(r"^(?:CPU\d+|Total) \([^)]*\):", text, flags=re.MULTILINE)[1:]
    if not blocks:
        raise TraceError("no totals of blkparse: it was cut off, or run with -q")
    told: dict[tuple[str, str], tuple[int, int]] = {}
    for found in _TOTAL.finditer(blocks[-1]):
        number, kib = int(found["count"]), int(found["kib"] or 0)
        told[found["way"][0], found["what"]] = number, kib << 10
    none = (0, 0)
    return TraceTotals(
        reads_queued=told.get(("R", "Queued"), none)[0],
        read_bytes=told.get(("R", "Queued"), none)[1],
        writes_queued=told.get(("W", "Queued"), none)[0],
        written_bytes=told.get(("W", "Queued"), none)[1],
        reads_completed=told.get(("R", "Completed"), none)[0],
        writes_completed=told.get(("W", "Completed"), none)[0],
        merges=told.get(("R", "Merges"), none)[0] + told.get(("W", "Merges"), none)[0],
        requeued=told.get(("R", "Requeued"), none)[0] + told.get(("W", "Requeued"), none)[0],
    )


def dropped(text: str) -> int:
    """Return how many events blktrace could not keep, of what it prints when it ends."""
    found = _DROPPED.findall(text)
    return int(found[-1]) if found else 0


def parse_btt(text: str) -> dict[str, Latency]:
    """Return the latencies of "All Devices" of btt's .avg file, by stage.

    :raise TraceError: it has none.
    """
    part = text.partition("All Devices")[2].partition("Device Overhead")[0]
    found = {row["stage"]: _latency(row.groupdict()) for row in _LATENCY.finditer(part)}
    if not found:
        raise TraceError("no 'All Devices' of btt: the trace has no request that was completed")
    return found


def _latency(fields: dict[str, str]) -> Latency:
    return Latency.model_validate(fields)


def summary(latencies: dict[str, Latency], totals: TraceTotals) -> str:
    """Return a line: how long requests took, and the share of each stage."""
    whole = latencies.get("Q2C")
    words = [f"{totals.reads_completed} reads, {totals.writes_completed} writes"]
    if whole is not None:
        words.append(f"Q2C {whole.mean_s * 1e3:.2f} ms (max {whole.most_s * 1e3:.1f})")
        words += _shares(latencies, whole, ("Q2G", "G2I", "I2D", "D2C"))
    return ", ".join(words)


def _shares(latencies: dict[str, Latency], whole: Latency, stages: Sequence[str]) -> Iterator[str]:
    total_s = whole.mean_s * whole.count
    for stage in stages:
        if (one := latencies.get(stage)) is not None and total_s:
            yield f"{stage} {one.mean_s * one.count / total_s:.0%}"
