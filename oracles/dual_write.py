"""Dual write: each request goes to a reference and to the target, and all replies are compared.

QEMU's blkverify (block/blkverify.c) compares reads and writes, and ends the process at the first
difference. This module compares all requests, including write zeroes, discard, block status and
resize, at any alignment. It finds all differences. For each it reports the place, both contents,
what is wrong with them, which side is to blame, and the request that wrote there last.

Not every difference is a fault. After a discard a sector is old or zero. Where writes in flight
touch the same bytes, or where a request failed, there is also more than one right answer. So the
shadow judges each difference. If the shadow permits it, the reference takes over the data of the
target. The shadow is updated only at a difference, so equal replies cost one comparison.

An error that both sides make in the same way is not found here. ``Disk.verify`` compares with the
shadow alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from blockio.errors import BlockError
from blockio.extents import STATE_ZERO
from oracles.contents import Change
from oracles.damage import Content, Damage, What, error, size
from oracles.finding import SHOWN, Finding, Findings
from oracles.life import DIFFERED, NOT_JUDGED
from oracles.mismatches import Mismatch, findings_of
from oracles.shadow import Shadow
from oracles.sides import Outcome, Payload, Payloads, Side
from oracles.stamps import SECTOR, as_array, stamp, stamp_each
from oracles.workload import Batch, Kind, Request, contended

_STEP = 1 << 20
"""Bytes that one step verifies, or compares with zeroes."""
_AHEAD_REQUESTS = 64
_AHEAD_BYTES = 1 << 20
"""Requests and bytes for which the data is made at once, ahead of the requests."""
_AHEAD = 4
"""Reads of a verification in flight together."""


Bytes = bytes | bytearray


class Stopped(Exception):  # noqa: N818  # requested by the caller
    """The first mismatch was found, and `stop_at_first` is set."""


@dataclass(slots=True)
class _Done:
    """A batch that the shadow has not recorded yet."""

    batch: Batch
    generations: list[int]
    failed: list[bool]


class DualWrite:
    """Compares a target with a reference, request by request.

    Both sides must hold what the shadow expects when this is made.

    :param shadow: of the target; it judges differences. `catch_up` brings it up to date.
    :param discard_reads_zero: the target promises that discarded ranges read as zeroes.
    :param same_errno: both sides must fail with the same errno, not just fail.
    :param stop_at_first: raise Stopped after the first mismatch was added to ``mismatches``.
    :ivar look_again: reads the place of a finding on the target again, and returns the finding
        with what that shows. It is called at once, while no request is in flight. None: nobody
        reads again.
    """

    def __init__(
        self,
        reference: Side,
        target: Side,
        shadow: Shadow,
        *,
        discard_reads_zero: bool = False,
        same_errno: bool = False,
        stop_at_first: bool = False,
    ) -> None:
        self.reference = reference
        self.target = target
        self.mismatches: list[Mismatch] = []
        self.requests = 0
        self._shadow = shadow
        self._discard_reads_zero = discard_reads_zero
        self._same_errno = same_errno
        self._stop_at_first = stop_at_first
        self.look_again: Callable[[Finding], Finding] | None = None
        self._log: list[_Done] = []
        self._open: list[tuple[int, int]] = []
        self._noted: set[int] = set()
        self._known: dict[tuple[str, int], str] = {}
        self._compare_sizes(Request(0, Kind.RESIZE, 0, shadow.size))

    @property
    def findings(self) -> Findings:
        """What is wrong, of all mismatches up to now."""
        found = findings_of(self.mismatches)
        found.is_judged = self.requests > 0
        return found

    # Requests ------------------------------------------------------------------------------------

    def run(self, batches: Iterable[Batch]) -> list[Mismatch]:
        """Send a workload to both sides; return the new mismatches.

        :raise Stopped: after the first one, if `stop_at_first` is set.
        """
        before = len(self.mismatches)
        source = iter(batches)
        ahead = self._prepare(source)
        while ahead:
            batch, done, payloads = ahead.popleft()
            self.requests += len(batch)
            if batch[0].kind is Kind.RESIZE:
                self._resize(batch[0])
            else:
                # The target first: its replies travel while the reference works.
                self.target.start(batch, payloads)
                self.reference.start(batch, payloads)
                ours = self.reference.finish()
                ahead = ahead or self._prepare(source)
                self._answered(done, ours, self.target.finish())
            ahead = ahead or self._prepare(source)
        return self.mismatches[before:]

    def step(self, batch: Batch) -> None:
        """Send one batch to both sides, and compare all replies."""
        self.run([batch])

    def verify(self, offset: int = 0, length: int | None = None) -> list[Mismatch]:
        """Read a range from both sides and compare every byte; return the new mismatches."""
        self.catch_up()
        before = len(self.mismatches)
        end = min(self.reference.size, self.target.size)
        end = end if length is None else min(end, offset + length)
        reads = [
            Request(0, Kind.READ, start, min(_STEP, end - start))
            for start in range(offset, end, _STEP)
        ]
        for start in range(0, len(reads), _AHEAD):
            batch = tuple(reads[start : start + _AHEAD])
            ours, theirs = self._ask(batch)
            self._noted.discard(0)
            self._compare(batch, ours, theirs)
            if 0 not in self._noted:  # all requests of a verification have the number 0
                for request in batch:
                    self._note(request, is_certain=True)
            self._agree()
        return self.mismatches[before:]

    def catch_up(self) -> Shadow:
        """Record all requests up to now in the shadow; return it."""
        log, self._log = self._log, []
        history = self._shadow.history
        clock, history.clock = history.clock, None  # it is not known when they were answered
        history.lane = "dual write"
        for done in log:
            self._record(done)
        history.clock = clock
        return self._shadow

    def _ask(self, batch: Batch) -> tuple[list[Outcome], list[Outcome]]:
        payloads = [b""] * len(batch)
        self.target.start(batch, payloads)
        self.reference.start(batch, payloads)
        return self.reference.finish(), self.target.finish()

    def _answered(self, done: _Done, ours: list[Outcome], theirs: list[Outcome]) -> None:
        self._compare(done.batch, ours, theirs)
        done.failed = [bool(o.error or t.error) for o, t in zip(ours, theirs, strict=True)]
        self._log.append(done)
        self._agree()

    def _prepare(self, source: Iterator[Batch]) -> deque[tuple[Batch, _Done, Payloads]]:
        """Take some batches, and make the data of all of them at once, which is much faster."""
        identity, history = self._shadow.identity, self._shadow.history
        prepared: deque[tuple[Batch, _Done, Payloads]] = deque()
        writes: list[tuple[int, int, int, int]] = []
        places: list[tuple[list[Payload], int]] = []
        requests = size = 0
        while requests < _AHEAD_REQUESTS and size < _AHEAD_BYTES:
            batch = next(source, None)
            if batch is None:
                break
            generations = [0] * len(batch)
            payloads: list[Payload] = [b""] * len(batch)
            for place, request in enumerate(batch):
                if request.kind is Kind.WRITE and request.length:
                    generation = history.next_generation(
                        request.number, identity.writer, request.offset, request.length
                    )
                    generations[place] = generation
                    writes.append((request.offset, request.length, generation, request.number))
                    places.append((payloads, place))
                    size += request.length
            requests += len(batch)
            prepared.append((batch, _Done(batch, generations, []), payloads))
        if writes:
            for (payloads, place), data in zip(places, stamp_each(writes, identity), strict=True):
                payloads[place] = data.data
        return prepared

    def _resize(self, request: Request) -> None:
        errors = []
        for side in (self.reference, self.target):
            try:
                side.resize(request.length)
            except BlockError as error:
                errors.append(error.errno)
            else:
                errors.append(0)
        self._compare_errors(request, Outcome(errors[0]), Outcome(errors[1]))
        if not any(errors):
            self.catch_up().resize(request.length)
            self._compare_sizes(request)

    # Replies -------------------------------------------------------------------------------------

    def _compare(self, batch: Batch, ours: Sequence[Outcome], theirs: Sequence[Outcome]) -> None:
        open_ones = contended(batch)
        for place, (request, our, their) in enumerate(zip(batch, ours, theirs, strict=True)):
            if our.error or their.error:
                self._compare_errors(request, our, their)
            elif request.kind is Kind.READ:
                if place not in open_ones and (
                    our.data != their.data or len(our.data) != request.length
                ):
                    self._compare_data(request, our.data, their.data)
            elif request.kind is Kind.STATUS and place not in open_ones:
                self._judge_status(request, "reference", our)
                self._judge_status(request, "target", their)

    def _compare_errors(self, request: Request, our: Outcome, their: Outcome) -> None:
        if bool(our.error) == bool(their.error) and (
            not self._same_errno or our.error == their.error
        ):
            return
        side = "both" if our.error and their.error else "reference" if our.error else "target"
        right, wrong = our, their
        if side == "reference":
            right, wrong = their, our
        self._report(
            request,
            Finding(
                Damage.ERROR,
                request.offset,
                request.length,
                expected=error(right.error),
                seen=error(wrong.error),
                side=side,
                remark=f"{wrong.why}; the request got no reply" if wrong.why else "",
            ),
        )

    def _compare_sizes(self, request: Request) -> None:
        wanted = self._shadow.size
        for name, side in (("reference", self.reference), ("target", self.target)):
            rounded = -(-wanted // side.rounding) * side.rounding
            seen = side.size
            if seen not in (wanted, rounded):
                low, high = sorted((seen, wanted))
                place = low, high - low
                found = Finding(
                    Damage.SIZE, *place, expected=size(wanted), seen=size(seen), side=name
                )
                self._report(request, found)

    def _compare_data(self, request: Request, our: Bytes, their: Bytes) -> None:
        short = False
        for name, data in (("reference", our), ("target", their)):
            if len(data) != request.length:
                short = True
                end = request.offset + min(len(data), request.length)
                missing = abs(request.length - len(data))
                asked, given = size(request.length), size(len(data))
                found = Finding(Damage.LENGTH, end, missing, expected=asked, seen=given, side=name)
                self._report(request, found)
        if short:
            length = min(len(our), len(their), request.length)
            our, their = our[:length], their[:length]
            if our == their:
                return
        shadow = self.catch_up()
        self._noted.add(request.number)
        self._note(request, is_certain=True, text=DIFFERED)
        wrong = {
            "reference": shadow.check(request.offset, our),
            "target": shadow.check(request.offset, their),
        }
        if not any(wrong.values()):
            self._open.append((request.offset, request.offset + len(their)))
        places = [{(f.offset, f.length, f.text) for f in found} for found in wrong.values()]
        for name, findings in wrong.items():
            for finding in (replace(one, side=name) for one in findings):
                alike = all((finding.offset, finding.length, finding.text) in p for p in places)
                if not alike:
                    self._report_contents(request, finding, our, their)

    def _agree(self) -> None:
        """Copy the data of the target to the reference where both sides are right but differ.

        This is done for whole sectors after the batch: during the batch a sector may be half done.
        """
        places, self._open = self._open, []
        for start, end in places:
            low = start - start % SECTOR
            high = min(end + -end % SECTOR, self._shadow.size)
            request = Request(0, Kind.READ, low, high - low)
            (our,), (their,) = self._ask((request,))
            if our.error or their.error or our.data == their.data:
                self._compare_errors(request, our, their)
                continue
            self._compare_data(request, our.data, their.data)
            if self._open:
                self._open.clear()
                self._shadow.settle(low, their.data)
                self._copy(low, their.data)

    def _copy(self, offset: int, data: Bytes) -> None:
        self.reference.start((Request(0, Kind.WRITE, offset, len(data)),), [bytes(data)])
        (outcome,) = self.reference.finish()
        if outcome.error:
            raise BlockError(outcome.error, "the reference refuses a write")

    def _judge_status(self, request: Request, name: str, outcome: Outcome) -> None:
        at, end = request.offset, request.offset + request.length
        if not outcome.extents or any(extent.length < 1 for extent in outcome.extents):
            remark = "covers nothing" if not outcome.extents else "has an empty extent"
            found = Finding(Damage.STATUS, at, request.length, side=name, remark=remark)
            self._report(request, found)
            return
        for extent in outcome.extents:
            stop = min(at + extent.length, end)
            if extent.flags & STATE_ZERO:
                for low in range(at, stop, _STEP):
                    self._judge_zero_claim(request, name, low, min(low + _STEP, stop) - low)
            at = max(at, stop)

    def _judge_zero_claim(self, request: Request, name: str, offset: int, length: int) -> None:
        inside = min(length, self._shadow.size - offset)
        for finding in self.catch_up().check(offset, bytes(max(0, inside))):
            claimed = Content(What.ZEROES)
            false = replace(finding, damage=Damage.STATUS, seen=claimed, side=name)
            self._report(request, false)

    # Reporting -----------------------------------------------------------------------------------

    def _report_contents(
        self, request: Request, finding: Finding, our: Bytes, their: Bytes
    ) -> None:
        """Report a finding, unless all of its sectors have been reported with the same text."""
        side, text = finding.side, finding.text
        sectors = range(finding.sector, finding.sector + finding.sectors)
        if all(self._known.get((side, sector)) == text for sector in sectors):
            return
        for sector in sectors:
            self._known[side, sector] = text
        start = finding.first_difference - request.offset
        part = slice(start, min(start + SHOWN, finding.offset + finding.length - request.offset))
        if side == "target" and self.look_again is not None:
            finding = self.look_again(finding)
        self._report(request, finding, bytes(our[part]), bytes(their[part]))

    def _report(
        self, request: Request, finding: Finding, our: bytes = b"", their: bytes = b""
    ) -> None:
        mismatch = Mismatch(request, replace(finding, request=str(request)), our, their)
        self.mismatches.append(mismatch)
        if self._stop_at_first:
            raise Stopped(str(mismatch))

    # Recording in the shadow ---------------------------------------------------------------------

    def _record(self, done: _Done) -> None:
        open_ones = contended(done.batch)
        together: list[tuple[str, Change, int | None]] = []
        for place, request in enumerate(done.batch):
            if not request.kind.changes or not request.length:
                text = NOT_JUDGED if place in open_ones else ""
                if request.number not in self._noted:
                    self._note(request, is_certain=not done.failed[place], text=text)
                continue
            if request.offset + request.length > self._shadow.size:
                continue  # refused by both sides, or reported: there are no contents beyond the end
            generation, failed = done.generations[place], done.failed[place]
            if place in open_ones:
                change = self._change(request, generation, failed)
                together.append((str(request.kind), change, request.number))
            else:
                self._record_alone(request, generation, failed)
        if together:
            self._shadow.in_flight(together)

    def _note(self, request: Request, *, is_certain: bool, text: str = "") -> None:
        """Note a read or a flush for the life of a sector."""
        if request.kind in (Kind.READ, Kind.FLUSH):
            self._shadow.history.note(
                request.kind.value,
                request.offset,
                request.length,
                number=request.number,
                is_certain=is_certain,
                text=text,
            )

    def _data(self, request: Request, generation: int) -> bytes:
        identity, number = self._shadow.identity, request.number
        return stamp(request.offset, request.length, identity, generation, number).tobytes()

    def _change(self, request: Request, generation: int, failed: bool) -> Change:
        data = None
        if request.kind is Kind.WRITE:
            data = as_array(self._data(request, generation))
        maybe = failed or request.kind is Kind.DISCARD
        return Change(request.offset, request.length, data, 0, maybe, request.fua)

    def _record_alone(self, request: Request, generation: int, failed: bool) -> None:
        shadow, offset, length = self._shadow, request.offset, request.length
        number, fua = request.number, request.fua
        if request.kind is Kind.DISCARD:
            certain = self._discard_reads_zero and not failed
            shadow.discard(offset, length, reads_zero=certain, operation=number)
        elif request.kind is Kind.ZERO:
            shadow.zero(offset, length, fua=fua, maybe=failed, operation=number)
        elif failed:
            data = self._data(request, generation)
            shadow.maybe_write(offset, data, operation=number)
        else:
            shadow.write(offset, self._data(request, generation), fua=fua, operation=number)
