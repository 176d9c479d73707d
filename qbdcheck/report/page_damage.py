"""What each kind of damage means in plain words, and its colour on the page."""

from __future__ import annotations

from collections.abc import Sequence

from oracles.damage import Damage
from oracles.finding import READ_WAS_WRONG, Finding

COLOURS = 10
"""The style sheet has the classes k0 to k9."""
_OWN = (
    Damage.ZEROED,
    Damage.STALE,
    Damage.TORN,
    Damage.NEVER_WRITTEN,
    Damage.LOST,
    Damage.OTHER_WRITE,
    Damage.MISDIRECTED,
    Damage.FOREIGN,
    Damage.UNKNOWN,
    Damage.ALTERED,
)
"""Kinds that are often on one page: each has a colour of its own among them."""

MEANINGS = {
    Damage.ZEROED: "the place reads as zeroes, and the data that must be there is gone",
    Damage.STALE: "an older version is there: a later change was lost, or old data was served",
    Damage.NEWER: "a later version is there than the one that must be",
    Damage.NEVER_WRITTEN: "the write was acknowledged, and what was there before is still there",
    Damage.LOST: "an acknowledged write is gone",
    Damage.OTHER_WRITE: "the place has another write than the one that must be there",
    Damage.MISDIRECTED: "data is there that was written to another place of the volume",
    Damage.SWAPPED: "two sectors have exchanged their contents",
    Damage.FOREIGN: "the data belongs to another volume or to another run",
    Damage.TORN: "a part of the sector is from one write, and the rest from another",
    Damage.BIT_FLIP: "single bits changed",
    Damage.ALTERED: "a few neighbouring bytes changed",
    Damage.SHIFTED: "the data is there, some bytes too high or too low",
    Damage.TRUNCATED: "the end of the data is missing",
    Damage.BEYOND_END: "data was read, or written, beyond the end of the volume",
    Damage.CHANGING: "two reads without a write in between returned different data",
    Damage.UNKNOWN: "the data is wrong, and no known kind of damage fits",
    Damage.NOT_LINEARIZABLE: "no order of the requests explains all the data that was read",
    Damage.METADATA: "the structures of an image format or of a file system are damaged",
    Damage.FILE: "a file, or a row of a database, is not what was promised",
    Damage.ERROR: "a request had another outcome than it must have",
    Damage.LENGTH: "a reply has more or less data than was requested",
    Damage.SIZE: "the size is not what it must be",
    Damage.STATUS: "the block status does not fit the data",
    Damage.PROTOCOL: "a reply breaks the protocol, or the connection was lost",
    Damage.NOT_READY: "a server did not start, or did not become ready in time",
    Damage.DIED: "a program ended on its own, by a signal or with an error",
    Damage.HANG: "something did not finish in its time limit",
}

_NOT_EXAMINED = "wrong data; so many places are damaged that this one was not examined closely"
_WRONG_READ = "the read returned what is not stored: a second read returned the right data"


def is_wrong_read(finding: Finding) -> bool:
    """Return whether a second read showed that the stored data is right."""
    return any(READ_WAS_WRONG in line for line in finding.evidence)


def second_reads(findings: Sequence[Finding]) -> list[str]:
    """Return what the second reads of a case's first finding show, or those of another one."""
    for place, one in enumerate(findings):
        lines = [line for line in one.evidence if line.startswith("read again")]
        if lines:
            where = f"Sector {one.sector}: " if place else ""
            told = [f"{line[:1].upper()}{line[1:]}." for line in lines]
            return [f"{where}{line[:1].lower() if where else line[:1]}{line[1:]}" for line in told]
    return []


def meaning_of(finding: Finding) -> str:
    """Return what the damage of a finding means; the write is not blamed if the read is wrong."""
    if finding.damage is Damage.UNKNOWN and finding.seen is None and finding.count:
        return _NOT_EXAMINED
    return _WRONG_READ if is_wrong_read(finding) else MEANINGS[finding.damage]


_HINTS = (
    (
        "bad magic header 0,",
        (
            "fio wrote this block, and it reads as zeroes: the write is not there, or the read is"
            " wrong."
        ),
    ),
    ("bad magic header", "fio wrote this block, and it holds data that is not of fio."),
    (" LOST file", "A file that was synced before the power cut is not there after it."),
)


def hint(text: str) -> str:
    """Return what the words of a guest's program mean for the target; empty for other words."""
    return next((meaning for words, meaning in _HINTS if words in text), "")


_LETTERS = {
    Damage.ZEROED: "0",
    Damage.STALE: "S",
    Damage.NEWER: "N",
    Damage.NEVER_WRITTEN: "P",
    Damage.LOST: "L",
    Damage.OTHER_WRITE: "O",
    Damage.MISDIRECTED: "M",
    Damage.SWAPPED: "W",
    Damage.FOREIGN: "F",
    Damage.TORN: "T",
    Damage.BIT_FLIP: "B",
    Damage.ALTERED: "A",
    Damage.SHIFTED: "H",
    Damage.TRUNCATED: "E",
    Damage.BEYOND_END: "X",
    Damage.CHANGING: "C",
    Damage.UNKNOWN: "?",
    Damage.STATUS: "Z",
    Damage.LENGTH: "G",
}
"""Letters of the kinds of damage that have a place: not everybody can tell the colours apart."""


def letter(damage: Damage | str) -> str:
    """Return the letter of a kind of damage or its word; empty for one that has no place."""
    known = {kind.value for kind in Damage}
    if isinstance(damage, str) and damage not in known:
        return ""
    return _LETTERS.get(Damage(damage), "")


def colour(damage: Damage) -> str:
    """Return the class of the style sheet that has the colour of a kind of damage."""
    order = _OWN if damage in _OWN else tuple(Damage)
    return f"k{order.index(damage) % COLOURS}"
