"""Block status as a map: the extents of many replies joined, clipped and compared by context.

Reference: NBD document, "NBD_CMD_BLOCK_STATUS", "NBD_REPLY_TYPE_BLOCK_STATUS".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import islice, pairwise
from typing import TYPE_CHECKING, TypeVar

from blockio.extents import STATE_HOLE, STATE_ZERO, Extent
from blockio.layers import Command, CommandFlag
from oracles.damage import Damage, Difference
from oracles.finding import SHOWN, Finding, Findings, reported
from qbdcheck import clock
from qbdcheck.kit.expectations import WrongAnswer, errno_name
from qbdcheck.kit.nbd_requests import request_name, widened
from qbdcheck.programs.requests_sent import OK, history_of, note
from reference_backend.nbd.errors import NbdError, NbdProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qbdcheck.kit.nbd_io import NbdIo
    from qbdcheck.targets.disk import Disk
    from reference_backend.client import Client

Run = tuple[int, int, int]
"""Start, end and flags of a range; start and end in bytes."""

_Answer = TypeVar("_Answer")
_BLOCK = 4096
_BASE = "base:allocation"
_NAMESPACES = ("base:", "qemu:", "qbd:")
"""Namespaces in which each record without a colon at its end is the name of a context."""
_PAUSES = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds between comparisons of answers that differ: space is allocated meanwhile."""
_KEPT = 1000
"""Extents of a reply that the life of the volume keeps."""
_BEFORE, _BEHIND = 1, 3
"""Runs of a map that are shown around a place."""
_U32 = 0xFFFFFFFF
"""The longest request without extended headers, in bytes."""


class StatusWrong(AssertionError):  # noqa: N818  # the verdict on a target
    """A block status is wrong; the message names the request, the context and the range."""

    def __init__(
        self, message: str, damage: Damage = Damage.STATUS, finding: Finding | None = None
    ) -> None:
        super().__init__(message)
        self.findings = reported(damage, message) if finding is None else Findings([finding])


def ask(
    client: Client, offset: int, length: int, flags: int = 0, only: Sequence[str] | None = None
) -> dict[str, list[Extent]]:
    """Send BLOCK_STATUS, check the form of the reply, and return the extents of each context.

    The reply must have each context exactly once, at least one extent of each, none of length 0,
    none that begins behind the request, and with REQ_ONE one alone that ends within the request.
    The reply must be complete: nothing of it may follow the next reply.

    The request has whole minimum blocks; the part before ``offset`` is left out of the result.

    :param only: the contexts to ask for in a payload (extended headers); None asks for all.
    :raise StatusWrong: the reply is an error, is incomplete, is late, or has a wrong form.
    """
    minimum = client.block_sizes[0] if client.block_sizes else 1
    if (offset | length) % minimum == 0:
        return _asked(client, offset, length, flags, only)
    is_short = length <= _U32
    start, length = widened(offset, length, minimum)
    if is_short:
        length = min(length, _U32 // minimum * minimum)
    if start < client.size:
        length = min(length, client.size - start)
    found = _asked(client, start, length, flags, only)
    return {name: _behind(extents, offset - start) for name, extents in found.items()}


def _behind(extents: list[Extent], skip: int) -> list[Extent]:
    """Return extents without their first ``skip`` bytes."""
    while skip and extents and extents[0].length <= skip:
        skip -= extents[0].length
        extents = extents[1:]
    if not skip or not extents:
        return extents
    return [Extent(extents[0].length - skip, extents[0].flags), *extents[1:]]


def _asked(
    client: Client, offset: int, length: int, flags: int, only: Sequence[str] | None
) -> dict[str, list[Extent]]:
    what = request_name(Command.BLOCK_STATUS, offset, length, flags)
    names = set(client.contexts.values())
    if only is not None:
        what, names = f"{what} for {', '.join(only)} alone", set(only)
    what = f"block status: {what} in mode {client.mode.name}"
    history, lane = history_of(client)
    noted = note(what, (offset, length), history)
    with _explained(what, len(names)):
        try:
            found = client.block_status(offset, length, flags, only=only)
        except NbdError:
            noted.result = OK  # an error is an answer: the server lived
            raise
        noted.result = OK
        if history is not None:
            history.answered(offset, length, list(islice(_states(offset, found), _KEPT)), lane)
        block = max(_BLOCK, client.block_sizes[0] if client.block_sizes else 1)
        client.read(offset, min(length, block))  # nothing of the status may come after this
    _check(found.keys() == names, what, f"contexts {sorted(found)}, expected {sorted(names)}")
    for name, extents in found.items():
        _check(bool(extents), what, f"no extent of {name}")
        _check(all(one.length > 0 for one in extents), what, f"an extent of length 0 of {name}")
        if flags & CommandFlag.REQ_ONE:
            _check(len(extents) == 1, what, f"{len(extents)} extents of {name}, expected one")
            longer = f"the extent of {name} has {extents[0].length} bytes"
            _check(extents[0].length <= length, what, longer)
        before_last = sum(one.length for one in extents[:-1])
        _check(before_last < length, what, f"an extent of {name} begins behind the request")
    return found


def _states(
    offset: int, found: Mapping[str, Sequence[Extent]]
) -> Iterator[tuple[str, int, int, str]]:
    """Yield the extents of a reply as `oracles.life.Answer` has them."""
    for name, extents in found.items():
        at = offset
        for one in extents:
            yield name, at, at + one.length, _words(one.flags, name)
            at += one.length


@contextmanager
def _explained(what: str, contexts: int) -> Iterator[None]:
    try:
        yield
    except NbdError as error:
        seen = f"{what}: expected success, got {errno_name(error.errno or 0)}"
        raise StatusWrong(seen, Damage.ERROR) from None
    except TimeoutError:
        seen = f"{what}: timed out: no complete reply, with a DONE for {contexts} contexts"
        raise StatusWrong(seen, Damage.HANG) from None
    except NbdProtocolError as error:
        raise StatusWrong(f"{what}: protocol error: {error}", Damage.PROTOCOL) from None
    except (ConnectionError, EOFError):
        seen = f"{what}: the server closed the connection"
        raise StatusWrong(seen, Damage.PROTOCOL) from None


def _check(is_right: bool, what: str, wrong: str) -> None:
    if not is_right:
        raise StatusWrong(f"{what}: {wrong}")


def follow(  # noqa: PLR0917  # the fields of the request, in their order
    client: Client,
    offset: int,
    end: int,
    flags: int = 0,
    only: Sequence[str] | None = None,
    step: int = 1 << 31,
) -> dict[str, list[Run]]:
    """Follow the extents of all contexts from ``offset`` to ``end``; return the map of each.

    Each next request begins where the shortest answer ended, as a client of several contexts does.

    :param step: the longest request in bytes.
    :raise StatusWrong: see `ask`.
    """
    maps: dict[str, list[Run]] = {name: [] for name in only or client.contexts.values()}
    while offset < end:
        found = ask(client, offset, min(step, end - offset), flags, only)
        reached = min(end, *(offset + sum(one.length for one in found[name]) for name in found))
        for name, extents in found.items():
            maps[name] = joined([*maps[name], *runs(offset, reached, extents)])
        offset = reached
    return maps


def zero_reads_as_zero(io: NbdIo, offset: int, end: int, data: bytes | None = None) -> None:
    """Check that what base:allocation calls zero reads as zeroes; without the context do nothing.

    :param data: what was read of the range before; by default what is called zero is read.
    :raise StatusWrong: there is data, or the reply is wrong. :raise WrongData: see `NbdIo.read`.
    """
    if _BASE not in io.client.contexts.values():
        return
    for start, after, flags in follow(io.client, offset, end)[_BASE]:
        if not flags & STATE_ZERO:
            continue
        if data is None:
            there = io.read(start, after - start)
        else:
            there = data[start - offset : after - offset]
        if there.count(0) != len(there):
            raise _called_zero(io, start, there)


def _called_zero(io: NbdIo, start: int, data: bytes) -> StatusWrong:
    """Return the error that a range is called zero and has data, with the life of the place."""
    first = start + len(data) - len(data.lstrip(b"\0"))
    there = data[first - start : first - start + SHOWN]
    history = io.history
    finding = Finding(
        Damage.STATUS,
        start,
        len(data),
        difference=Difference(first, there, bytes(len(there))),
        last_writes=history.last_writes(first, len(there), 3),
        request=f"block status on {io.name}",
        remark=f"called zero, but a read returns data from offset {first} on",
        evidence=("expected: the data that a read returned; seen: what the block status says",),
        life=history.life((first, len(there))),
        volume=history.volume,
    )
    place = first, len(there)
    finding = history.with_relatives(finding, place, history.left_out(place))
    told = f"block status on {io.name}: [{start}, {start + len(data)}) is called zero, but has data"
    last = f"\n    last write there: {finding.last_write}" if finding.last_write else ""
    return StatusWrong(f"{told}{last}", finding=finding)


def runs(offset: int, end: int, extents: Iterable[Extent]) -> Iterator[Run]:
    """Yield the runs of extents that begin at ``offset``, clipped at ``end``."""
    for extent in extents:
        after = min(offset + extent.length, end)
        if offset < after:
            yield offset, after, extent.flags
        offset += extent.length


def joined(all_runs: Iterable[Run]) -> list[Run]:
    """Return runs in order with neighbours of equal flags joined."""
    result: list[Run] = []
    for start, end, flags in all_runs:
        if result and result[-1][1] == start and result[-1][2] == flags:
            result[-1] = (result[-1][0], end, flags)
        else:
            result.append((start, end, flags))
    return result


def listed_contexts(client: Client, export: str) -> list[str]:
    """Return the metadata contexts that a server lists and that can be chosen, base:allocation too.

    A record that ends with a colon is a wildcard: it is listed further. In a namespace whose
    definition nobody here knows a record may also be a pattern ("NBD_OPT_LIST_META_CONTEXT"); then
    SET_META_CONTEXT tells whether it is a name.

    :param client: in the handshake, with structured replies.
    """
    found = dict.fromkeys((_BASE,))
    for record in client.opt_list_meta_context(export):
        names = client.opt_list_meta_context(export, [record]) if record[-1:] == ":" else [record]
        found.update(dict.fromkeys(name for name in names if name[-1:] != ":"))
    return [
        name for name in found if name.startswith(_NAMESPACES) or _is_chosen(client, export, name)
    ]


def _is_chosen(client: Client, export: str, name: str) -> bool:
    return name in client.opt_set_meta_context(export, [name]).values()


def maps_alone(
    disk: Disk, nbd: Callable[..., Client], names: Iterable[str], ranges: Iterable[tuple[int, int]]
) -> dict[tuple[str, int, int], list[Run]]:
    """Return the map of each context and range, by connections with one context each.

    :param nbd: the fixture.
    :param ranges: offset and length of each, in bytes.
    :raise AssertionError: the server does not choose a context that it lists.
    """
    alone = {}
    for name in names:
        with nbd(disk, contexts=(name,)) as client:
            unknown = f"LIST_META_CONTEXT has {name!r}, and SET_META_CONTEXT does not choose it"
            assert name in client.contexts.values(), unknown
            for start, length in ranges:
                alone[name, start, length] = follow(client, start, start + length)[name]
    return alone


def part(whole: Sequence[Run], offset: int, end: int) -> list[Run]:
    """Return the part of a map within [offset, end)."""
    return [
        (max(start, offset), min(stop, end), flags)
        for start, stop, flags in whole
        if start < end and stop > offset
    ]


def expect_status(seen: Sequence[Run], expected: Sequence[Run], what: str) -> None:
    """Compare two maps of one context.

    :raise StatusWrong: they differ; with the first range that differs.
    """
    edges = sorted({edge for start, end, _ in (*seen, *expected) for edge in (start, end)})
    for start, end in pairwise(edges):
        one, other = (_flags_at(some, start) for some in (seen, expected))
        if one != other:
            message = (
                f"block status: {what}: {end - start} bytes at {start} have"
                f" {_words(one, what)}, expected {_words(other, what)}"
            )
            maps = f"seen: {_near(seen, start, what)}", f"expected: {_near(expected, start, what)}"
            raise _wrong_map(message, maps)


def agree(
    one: Callable[[], _Answer],
    other: Callable[[], _Answer],
    compare: Callable[[_Answer, _Answer], None],
) -> None:
    """Check that two ways to ask about the status of unchanged data agree.

    The status of unchanged data may change, because a server allocates and frees space in the
    background. Answers that differ are taken again, both, for about 3 s: they must agree once.

    :param one: asks, and returns the answer. It raises errors for what no server may answer.
    :param other: the same in another way.
    :param compare: raises `StatusWrong` or `WrongAnswer` if two answers have different flags.
    :raise AssertionError: the first of these errors: the answers differed each time.
    """
    first: AssertionError | None = None
    for pause in (0.0, *_PAUSES):
        clock.pause(pause)
        seen, expected = one(), other()
        try:
            compare(seen, expected)
        except (StatusWrong, WrongAnswer) as error:
            first = first or error
        else:
            return
    assert first is not None
    raise first


def expect_data(seen: Sequence[Run], offset: int, end: int, request: str = "") -> None:
    """Check that a map of base:allocation calls no part of a range zero.

    :param request: the request or requests whose answer the map is, in words.
    :raise StatusWrong: it does; with the map around the place.
    """
    for start, after, flags in part(seen, offset, end):
        if flags & STATE_ZERO:
            message = (
                f"block status: {after - start} bytes at {start} are called zero, but have data"
            )
            message += f", in the answer to {request}" if request else ""
            raise _wrong_map(message, (f"seen: {_near(seen, start, _BASE)}",))


def _wrong_map(message: str, maps: tuple[str, ...]) -> StatusWrong:
    """Return the error with the maps around the place as its further lines."""
    told = "\n    ".join((message, *maps))
    return StatusWrong(told, finding=Finding(Damage.STATUS, remark=message, evidence=maps))


def _near(some: Sequence[Run], offset: int, what: str) -> str:
    """Return the runs of a map around a place, in words: a reply may have them at a wrong place."""
    at = next((number for number, (_, end, _) in enumerate(some) if offset < end), len(some))
    first = max(0, at - _BEFORE)
    shown = [
        f"[{start}, {end}): {end - start} bytes {_words(flags, what)}"
        for start, end, flags in some[first : at + _BEHIND]
    ]
    more = ["..."] if at + _BEHIND < len(some) else []
    return "; ".join([*(["..."] if first else []), *shown, *more])


def _flags_at(some: Sequence[Run], offset: int) -> int | None:
    return next((flags for start, end, flags in some if start <= offset < end), None)


@cache
def _words(flags: int | None, what: str) -> str:
    """Return flags as a number, and in words where ``what`` names their context."""
    if flags is None:
        return "no extent"
    words = ""
    if "qbd:dirty" in what:
        words = " (dirty)" if flags & 1 else " (clean)"
    elif _BASE in what:
        hole, zero = "hole" * bool(flags & STATE_HOLE), "zero" * bool(flags & STATE_ZERO)
        words = f" ({', '.join(filter(None, (hole, zero))) or 'data'})"
    return f"flags {flags:#x}{words}"
