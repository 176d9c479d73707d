"""The words of the page for findings and requests: plain English instead of short forms."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from oracles.damage import Damage, What
from oracles.finding import SECTOR, Finding
from oracles.life import CHANGES

_REQUEST = re.compile(r"^(?:#(\d+) )?([a-z][a-z ]*?) (\d+)\+(\d+)$")
_OTHER = "expected other data"
_MIXED = "data of several writes"


def request_in_words(request: str) -> str:
    """Return ``read #88 of 7674 bytes at offset 628224`` for ``#88 read 628224+7674``."""
    found = _REQUEST.match(request)
    if found is None:
        return request
    number = f" #{found[1]}" if found[1] else ""
    plural = "" if found[4] == "1" else "s"
    return f"{found[2]}{number} of {found[4]} byte{plural} at offset {found[3]}"


def named(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings; what a power cut took away is lost, not never written.

    Not all findings have a life: those without one are like the others of their case.
    """
    known = [one for one in findings if one.life and one.damage is Damage.NEVER_WRITTEN]
    are_all = bool(known) and all(map(_is_cut_away, known))
    return [
        replace(one, damage=Damage.LOST)
        if _is_cut_away(one) or (are_all and one.damage is Damage.NEVER_WRITTEN)
        else one
        for one in findings
    ]


def text_of(finding: Finding) -> str:
    """Return the sentence of a finding for the page."""
    text = finding.text
    if finding.damage is Damage.LOST and finding.seen is not None:
        text = text.replace("lost,", f"lost: {finding.seen} is still there,", 1)
    if parts := parts_of(finding):
        text = text.replace(_OTHER, f"expected {parts}")
    return text


def parts_of(finding: Finding) -> str:
    """Return what a sector must hold that several writes, or a part of one, have made."""
    if finding.expected is None or finding.expected.what is not What.DATA or finding.sectors != 1:
        return ""
    parts = list(_parts(finding))
    if len(parts) == 1:
        return f"data of {parts[0][1]}"
    told = [f"{place} by {name}" if place else f"the rest by {name}" for place, name in parts]
    return f"{_MIXED}: {', '.join(told)}" if told else ""


def _parts(finding: Finding) -> Iterator[tuple[str, str]]:
    """Yield bytes of the sector and their write, the newest first; "" for all other bytes."""
    start = finding.sector * SECTOR
    for write in finding.last_writes:
        first = max(write.offset - start, 0)
        end = min(write.offset + write.length - start, SECTOR)
        if first >= end:
            continue
        name = "the prefill" if write.text == "prefill" else f"{write.text} #{write.number}"
        if end - first == SECTOR:
            yield "", name
            return
        place = f"byte {first}" if end - first == 1 else f"bytes {first} to {end - 1}"
        yield place, name


def _is_cut_away(finding: Finding) -> bool:
    """Return whether a power cut came after the change that is not there."""
    if finding.damage is not Damage.NEVER_WRITTEN:
        return False
    changes = [at for at, one in enumerate(finding.life)
               if one.kind in CHANGES and one.kind != "prefill"]  # fmt: skip
    return bool(changes) and any(one.kind == "cut" for one in finding.life[changes[-1] :])
