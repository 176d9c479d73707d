"""Parsers for the output of blkparse (events and totals) and btt (latencies).

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
"""Stages of btt: queued (Q), got (G), inserted (I), merged (M), issued (D), completed (C)."""
_EVENT = re.compile(
    r"^\s*(?P<device>\d+,\d+)\s+(?P<cpu>\d+)\s+(?P<sequence>\d+)\s+(?P<at_s>\d+\.\d+)\s+"
    r"(?P<pid>\d+)\s+(?P<action>[A-Z]{1,2})\s+(?P<rwbs>[A-Z]+)(?:\s+(?P<rest>.*))?$"
)
_ANY_EVENT = re.compile(r"^\s*\d+,\d+\s+\d+\s+\d+\s+\d+\.\d+\s+\d+\s+(?P<action>\S+)")
_MESSAGE = "m"
"""The action of an I/O scheduler's message."""
_PLACE = re.compile(r"(?P<sector>\d+) \+ (?P<sectors>\d+)")
_NAME = re.compile(r"\[(?P<name>.*)\]")
"""Matches up to the last bracket, because a thread's name may contain brackets."""
_TOTAL = re.compile(
    r"\b(?P<way>Read|Write|IO)s? (?P<what>Queued|Dispatches|Requeued|Completed|Merges):"
    r"\s+(?P<count>\d[\d,]*?)(?:,\s+(?P<size>\d[\d,]*)(?P<unit>[KMG])iB)?(?=\s|$)"
)
_SHIFTS = {"K": 10, "M": 20, "G": 30}
_LATENCY = re.compile(
    r"^(?P<stage>[A-Z]2[A-Z](?:dm)?)\s+(?P<least_s>\d+\.\d+)\s+(?P<mean_s>\d+\.\d+)\s+"
    r"(?P<most_s>\d+\.\d+)\s+(?P<count>\d+)\s*$"
)
_ANY_LATENCY = re.compile(r"^[A-Z]2[A-Z]")
_DROPPED = re.compile(r"dropped (?P<count>\d+)")


class TraceError(ValueError):
    """The text is not output of blkparse or btt, or has a part that is not understood."""


class TraceEvent(BaseModel):
    """One action on one request.

    :ivar action: a letter of ACTIONS. ``rwbs``: R read, W write, D discard, F flush, N none, S
        sync, A readahead, M metadata, as blkparse(1) has it.
    :ivar sector: None for an action without a place, such as plugging.
    :ivar error: the errno of a completion, 0 for success.
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
    """The totals of blkparse over all CPUs: requests and bytes."""

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
    """Seconds from one stage to the next. ``count`` is the number of requests."""

    model_config = ConfigDict(frozen=True)

    stage: str
    least_s: float
    mean_s: float
    most_s: float
    count: int


def parse_events(text: str) -> Iterator[TraceEvent]:
    """Yield the events of blkparse's default output, in its order.

    Messages of I/O schedulers and the totals after the events are skipped.

    :raise TraceError: a line that begins as an event is not understood.
    """
    for line in text.splitlines():
        if found := _EVENT.match(line):
            fields: dict[str, object] = {
                key: found[key] for key in ("device", "cpu", "sequence", "at_s", "pid")
            }
            rest = found["rest"] or ""
            if place := _PLACE.search(rest):
                fields |= {"sector": place["sector"], "sectors": place["sectors"]}
            if name := _NAME.search(rest):
                # A completion has the error where other actions have the program's name.
                key = "error" if found["action"] == "C" and _is_number(name["name"]) else "process"
                fields[key] = name["name"]
            yield TraceEvent.model_validate(
                {**fields, "action": found["action"], "rwbs": found["rwbs"]}
            )
        elif (other := _ANY_EVENT.match(line)) and other["action"] != _MESSAGE:
            raise TraceError(f"event of blkparse not understood: {line.strip()!r}")


def _is_number(text: str) -> bool:
    return text.removeprefix("-").isdigit()


def parse_totals(text: str) -> TraceTotals:
    """Return the totals that blkparse prints after the events.

    With several CPUs it prints a block for each, and a last one for all.

    :raise TraceError: there are none, or a counter is missing.
    """
    blocks = re.split(r"^(?:CPU\d+|Total) \([^)]*\):", text, flags=re.MULTILINE)[1:]
    if not blocks:
        raise TraceError("no totals of blkparse: it was cut off, or run with -q")
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for line in _TOTAL.finditer(blocks[-1]):
        size = _plain(line["size"] or "0") << _SHIFTS[line["unit"] or "K"]
        found[line["way"][0], line["what"]] = _plain(line["count"]), size
    try:
        return TraceTotals(
            reads_queued=found["R", "Queued"][0],
            read_bytes=found["R", "Queued"][1],
            writes_queued=found["W", "Queued"][0],
            written_bytes=found["W", "Queued"][1],
            reads_completed=found["R", "Completed"][0],
            writes_completed=found["W", "Completed"][0],
            merges=found["R", "Merges"][0] + found["W", "Merges"][0],
            requeued=found["R", "Requeued"][0] + found["W", "Requeued"][0],
        )
    except KeyError as error:
        way, what = error.args[0]
        name = f"{'Reads' if way == 'R' else 'Writes'} {what}"
        raise TraceError(f"the totals of blkparse have no {name!r}") from None


def _plain(number: str) -> int:
    """Return a number that may have commas between thousands."""
    return int(number.replace(",", ""))


def dropped(text: str) -> int:
    """Return how many events blktrace could not keep, by the text that it prints when it ends.

    :raise TraceError: the text has no such number.
    """
    found = _DROPPED.findall(text)
    if not found:
        raise TraceError("blktrace did not report its dropped events: it did not end normally")
    return int(found[-1])


def parse_btt(text: str) -> dict[str, Latency]:
    """Return the latencies of "All Devices" in btt's .avg file, by stage.

    For requests that device mapper remapped, btt has separate stages, such as Q2Cdm. They are kept
    in addition to Q2C; without a Q2C they are named Q2C, since btt 1.3 prints no other.

    :raise TraceError: it has none, or a line is not understood.
    """
    part = text.partition("All Devices")[2].partition("Device Overhead")[0]
    found: dict[str, Latency] = {}
    for line in part.splitlines():
        if row := _LATENCY.match(line):
            found[row["stage"]] = _latency(row.groupdict())
        elif _ANY_LATENCY.match(line):
            raise TraceError(f"line of 'All Devices' of btt not understood: {line.strip()!r}")
    if not found:
        raise TraceError("no 'All Devices' of btt: the trace has no request that was completed")
    for stage in [stage for stage in found if stage.endswith("dm")]:
        plain = stage.removesuffix("dm")
        if plain in STAGES and plain not in found:
            found[plain] = found.pop(stage).model_copy(update={"stage": plain})
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
