"""The picture of a crash state: which writes of its epoch are there."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from blockio.write_log import Entry, LogFlag
from oracles.crash_states.picture import picture
from oracles.crash_states.states import CrashStates, StateId

SIZE = 64 << 10


def texts(drawn: str) -> list[str]:
    return [one.text or "" for one in ET.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")]


def test_the_missing_write_of_an_epoch_is_marked() -> None:
    log = [
        Entry(LogFlag(0), 0, 4096, b"a" * 4096),
        Entry(LogFlag.FLUSH),
        Entry(LogFlag(0), 8192, 4096, b"b" * 4096),
        Entry(LogFlag.FUA, 32768, 512, b"c" * 512),
    ]
    states = CrashStates(log, memoryview(bytearray(SIZE)), tear=0)
    drawn = picture(states, StateId(1, 0b10))
    said = texts(drawn)
    assert said[0] == (
        "crash state 1:2: a power cut after the flush at entry 1 of the log (epoch 1 of 2)"
    )
    assert said[1] == states.describe(StateId(1, 0b10))
    assert said[3:5] == [
        "entry 2: write 8192+4096, lost",
        "entry 3: write 32768+512 with FUA, there",
    ]
    assert drawn.count("stroke-dasharray") == 1


def test_a_long_epoch_shows_what_is_missing() -> None:
    log = [Entry(LogFlag(0), 512 * number, 512, bytes([number]) * 512) for number in range(100)]
    states = CrashStates(log, memoryview(bytearray(SIZE)), tear=0)
    said = texts(picture(states, StateId(0, (1 << 100) - 1 - (1 << 90))))
    assert "entry 90: write 46080+512, lost" in said
    assert said[2].endswith("100 writes in the epoch, 1 of them not whole, 40 shown")
