"""A second read of damaged data: is the stored data wrong, or was only the read wrong?

It is done at once, before other requests can change the place: over the connection that saw the
damage where that can be used, then over a new one. What is around the place shows where a lost
write went. A reply that does not cover its range shows why the reader saw what its buffer held.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from blockio.extents import STATE_HOLE
from blockio.layers import Command, CommandFlag
from oracles.damage import Confidence, Damage
from oracles.finding import READ_WAS_WRONG, Finding, Findings
from oracles.shadow import MISSED, Shadow
from oracles.stamps import SECTOR, Data, as_array
from qbdcheck.errors import QbdcheckError
from reference_backend.client import Client
from reference_backend.nbd.constants import TransmissionFlag
from reference_backend.nbd.errors import NbdError, NbdProtocolError, OptionRefused, ReplyHasGaps

SeenAgain = tuple[Data, tuple[tuple[int, int, bool], ...]]
"""The bytes of a range, and what `Finding.allocation` has."""
ReadAgain = Callable[[int, int], SeenAgain]
"""Returns the bytes at an offset, of a length, past the connection that read before, and what
`Finding.allocation` has."""
ReadSame = Callable[[int, int], Data]
"""Returns the bytes at an offset, of a length, over the connection that read before."""
AGAIN = 2
"""Findings of a read that are read again."""
_AROUND = 64
"""Sectors on both sides that are searched for lost stamps."""
_SMALL = 16 << 20
"""Volumes up to this size in bytes are searched as a whole."""
_UNIT = 64 << 10
"""Reads are multiples of the largest minimum block that NBD allows, in bytes."""
_STILL = "the same damage, so the stored data is wrong"
_FAILS = (QbdcheckError, NbdError, NbdProtocolError, OptionRefused, OSError, EOFError)
_CONTEXT = "base:allocation"
_HOLES = 1024
"""Units of 64 KiB in the holes of a reply that are read again with DF."""
_EXTENTS = 200
"""Extents of the block status that a finding has."""


class SentAsHole(Exception):  # noqa: N818  # what a server does, not a mishap
    """A reply has holes where a read with DF, which is one piece, returns data.

    :ivar data: the bytes of the range, with those of the reads with DF.
    """

    def __init__(self, data: Data) -> None:
        super().__init__("sent as a hole")
        self.data = data


def read_again(client: Client, offset: int, length: int) -> SeenAgain:
    """Return the bytes of a range and its first extents: offset, length, whether it is a hole.

    :param client: a new connection; without the context base:allocation there are no extents.
    :raise SentAsHole: a hole of the reply has data.
    """
    reply = client.call(Command.READ, offset, length) if length <= client.longest else None
    data = np.frombuffer(client.read(offset, length) if reply is None else reply.data, np.uint8)
    if reply is not None and client.flags & TransmissionFlag.SEND_DF:
        _check_holes(client, data, offset, [one[:2] for one in reply.chunks if one[2]])
    found: list[tuple[int, int, bool]] = []
    at, end = offset, offset + length
    while _CONTEXT in client.contexts.values() and at < end and len(found) < _EXTENTS:
        extents = client.block_status(at, end - at).get(_CONTEXT, [])
        for extent in extents:
            stop = min(at + extent.length, end)
            found.append((at, stop - at, bool(extent.flags & STATE_HOLE)))
            at = stop
        if not extents:
            break
    return data, tuple(found[:_EXTENTS])


def _check_holes(client: Client, data: Data, offset: int, holes: Sequence[tuple[int, int]]) -> None:
    """Read the holes of a reply again with DF, in units of 64 KiB.

    :raise SentAsHole: one of them has data.
    """
    units = [
        (at, min(_UNIT - at % _UNIT, start + count - at))
        for start, count in holes
        for at in (start, *range((start // _UNIT + 1) * _UNIT, start + count, _UNIT))
    ]
    whole = as_array(data).copy()
    for at, count in units[:_HOLES]:
        piece = client.read(at, count, CommandFlag.DF)
        whole[at - offset : at - offset + count] = np.frombuffer(piece, np.uint8)
    if not np.array_equal(whole, data):
        raise SentAsHole(whole)


def looked_again(
    shadow: Shadow, findings: Findings, again: ReadAgain, same: ReadSame | None = None
) -> Findings:
    """Read the place of the first findings and their neighbourhood again; add what that shows.

    :param same: reads over the connection that saw the damage; None where it cannot be used.
    """
    found = Findings(findings, about=findings.about)
    for place, first in enumerate(found[:AGAIN]):
        start, end = _around(shadow, first)
        finding = first if same is None else _on_same(shadow, first, same)
        found[place] = finding
        try:
            data, allocation = again(start, end - start)
        except ReplyHasGaps as error:
            return _with_gaps(found, error)
        except SentAsHole as error:
            seen = error.data[finding.offset - start :][: finding.length]
            if shadow.check(finding.offset, seen):
                continue
            says = f"sent as a hole; a read with DF: the data is right, {READ_WAS_WRONG}"
            found[place] = _with(finding, f"read again over a new connection: {says}")
            continue
        except _FAILS as error:
            found[place] = _with(finding, f"read again: {(str(error).splitlines() or [''])[0]}")
            return found
        seen = as_array(data)
        low, high = finding.offset - start, finding.offset + finding.length - start
        says = _says(shadow, finding, seen[low:high])
        if (
            says == _STILL
            and end - start > finding.length
            and _is_right_alone(shadow, first, again)
        ):
            says = (
                f"the same damage in a read of {end - start} bytes; a read of these"
                f" {finding.length} bytes alone: the data is right, {READ_WAS_WRONG}"
            )
        found[place] = replace(
            _with(finding, f"read again over a new connection: {says}"), allocation=allocation
        )
        shadow.search(found, seen, start)
    if found and shadow.size > _SMALL:
        _searched_far(shadow, found, again)
    return found


def _searched_far(shadow: Shadow, found: Findings, again: ReadAgain) -> None:
    """Look for what the first finding misses where an offset that lost its high bits leads to.

    Each such place is read once, in a unit of 64 KiB.
    """
    place = found[0].offset
    moduli = (1 << bits for bits in range(16, place.bit_length()))
    units = dict.fromkeys(place % modulus // _UNIT * _UNIT for modulus in moduli)
    for start in units:
        if found[0].found_at is not None or found[0].damage not in MISSED:
            return
        if start == place // _UNIT * _UNIT:
            continue
        try:
            data, _ = again(start, min(_UNIT, shadow.size - start))
        except (*_FAILS, ReplyHasGaps, SentAsHole):
            return
        first = Findings(found[:1])
        shadow.search(first, as_array(data), start)
        found[0] = first[0]


def _around(shadow: Shadow, finding: Finding) -> tuple[int, int]:
    """Return the range (start, end) in bytes that is read again."""
    if shadow.size <= _SMALL:
        return 0, shadow.size
    low = (finding.sector - _AROUND) * SECTOR
    high = (finding.sector + finding.sectors + _AROUND) * SECTOR
    return max(0, low // _UNIT * _UNIT), min(-(-high // _UNIT) * _UNIT, shadow.size)


def _on_same(shadow: Shadow, finding: Finding, same: ReadSame) -> Finding:
    first = finding.offset // _UNIT * _UNIT
    end = min(-(-(finding.offset + finding.length) // _UNIT) * _UNIT, shadow.size)
    low = finding.offset - first
    try:
        seen = as_array(same(first, end - first))[low : low + finding.length]
    except _FAILS as error:
        text = (str(error).splitlines() or [""])[0]
        return _with(finding, f"read again over the same connection: {text}")
    still = shadow.check(finding.offset, seen)
    kinds = {one.damage for one in still}
    says = "the same damage" if kinds == {finding.damage} else "the data is right"
    if still and kinds != {finding.damage}:
        says = still[0].text
    return _with(finding, f"read again over the same connection: {says}")


def _is_right_alone(shadow: Shadow, finding: Finding, again: ReadAgain) -> bool:
    """Return whether a read of the damaged place alone returns the right data.

    A cache may answer a read of its own blocks rightly, and a read of more from the disk.
    """
    if finding.length > _UNIT:
        return False
    try:
        data, _ = again(finding.offset, finding.length)
    except (*_FAILS, SentAsHole):  # such as a read that is no multiple of the minimum block
        return False
    return not shadow.check(finding.offset, as_array(data))


def _says(shadow: Shadow, finding: Finding, seen: Data) -> str:
    """Return what the read over a new connection shows."""
    still = shadow.check(finding.offset, seen)
    if not still:
        return f"the data is right, {READ_WAS_WRONG}"
    if {one.damage for one in still} == {finding.damage}:
        return _STILL
    return still[0].text


def _with(finding: Finding, line: str) -> Finding:
    return replace(finding, evidence=(*finding.evidence, line))


def _with_gaps(findings: Sequence[Finding], error: ReplyHasGaps) -> Findings:
    """Return the findings; those in a range that a reply leaves out are what a buffer held."""
    line = f"read again over a new connection: {error}"
    found = Findings(findings)
    for place, one in enumerate(found):
        end = one.offset + one.length
        if any(at <= one.offset and end <= at + length for at, length in error.gaps):
            told = (
                "the reply to a READ has no data for this place, so the reader saw what its buffer"
                f" held: {one.text}"
            )
            found[place] = replace(
                _with(one, line),
                damage=Damage.LENGTH,
                seen=None,
                moved=None,
                remark=told,
                confidence=Confidence.LIKELY,
            )
    if found and line not in {text for one in found for text in one.evidence}:
        found[0] = _with(found[0], line)
    if found:  # the messages of the reply
        notes = [one for one in getattr(error, "__notes__", ()) if not one.startswith("received")]
        found[0] = replace(found[0], evidence=(*found[0].evidence, *notes))
    return found
