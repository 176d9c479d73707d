"""The model of a volume: what each step of a script must return after all steps before it."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, cast

from blockio.extents import STATE_ZERO, Extent
from oracles.damage import Content, Damage, What, error, size
from oracles.finding import Finding, Findings, render
from oracles.scripts import Step
from oracles.shadow import NotPermitted, Shadow
from oracles.stamps import Data, Identity

_SHOWN = 3


class StepFailed(Exception):  # noqa: N818  # an outcome
    """The request of a step failed. ``number`` is its Linux errno."""

    def __init__(self, number: int, text: str = "") -> None:
        super().__init__(f"{errno.errorcode.get(number, number)} {text}".strip())
        self.number = number


class Wrong(AssertionError):  # noqa: N818  # the verdict on a target
    """A step returned what the model does not permit; ``findings`` say in which way."""

    def __init__(self, text: str, findings: Sequence[Finding] = ()) -> None:
        super().__init__(text)
        self.findings = Findings(findings)

    def within(self, place: str) -> Wrong:
        """Return the same, its text preceded by where it happened."""
        return Wrong(f"{place}{self}", self.findings)


class Player(Protocol):
    """Carries out steps on a volume. ``abilities`` are the supported steps, and ``fua``."""

    abilities: frozenset[str]

    def reset(self, size: int, data: bytes) -> None:
        """Set size and contents of the volume, durably; forget everything before."""
        ...

    def do(self, step: Step, data: bytes) -> Data | Sequence[Extent] | None:
        """Carry out a step; ``data`` is for a write. Return the result of a read or block status.

        :raise StepFailed: the request failed.
        """
        ...

    def read_snapshot(self, number: int) -> Data | None:
        """Return all of the snapshot of that number (from 0, since the last reset).

        :return: None where snapshots cannot be read.
        :raise StepFailed: it failed.
        """
        ...


class Model:
    """One volume from its first step to its last.

    :param seed: makes the stamps of one run different from those of another.
    :param prefill: write stamps to the whole volume first; else it must read as zeroes.
    :param waived: policies (`oracles.promises`) that do not hold.
    """

    def __init__(
        self,
        player: Player,
        size: int,
        seed: int = 0,
        *,
        prefill: bool = True,
        waived: frozenset[str] = frozenset(),
    ) -> None:
        self.shadow = Shadow(size, Identity(seed & 0xFFFFFFFF, 1), waived)
        self._player = player
        self._armed: dict[str, list[int]] = {}
        self._frozen: list[Shadow] = []
        player.reset(size, self.shadow.prefill().tobytes() if prefill else b"")
        self.shadow.flush()

    def step(self, step: Step) -> None:
        """Carry out a step and check its result.

        :raise Wrong: the result is wrong.
        """
        while step.do == "resize" and self._armed.get("flush"):
            self.step(Step("flush"))  # a resize flushes, and must not meet that fault
        if step.fua and "fua" not in self._player.abilities:
            step = replace(step, fua=False)
        data = self._data_of(step)
        due = self._due(step)
        try:
            answer = self._player.do(step, data)
        except StepFailed as failure:
            flush = self._armed.get("flush")
            if due is None and step.fua and flush and flush[0] == failure.number:
                flush.pop(0)  # FUA may be implemented by a flush, which met its fault
            elif due != failure.number:
                owed = f", {errno.errorcode[due]} was due" if due else ", and no fault was armed"
                found = _outcome(step, failure.number, due or 0, f"failed with {failure}{owed}")
                raise Wrong(found.line, [found]) from None
            self._failed(step, data)
            return
        if due:
            remark = f"success, and the error {errno.errorcode[due]} was injected"
            found = _outcome(step, 0, due, remark)
            raise Wrong(found.line, [found])
        self._done(step, data, answer)

    def _data_of(self, step: Step) -> bytes:
        if step.do != "write":
            return b""
        if step.fill >= 0:
            return bytes([step.fill]) * step.length
        return self.shadow.stamped(step.offset, step.length)

    def finish(self) -> None:
        """Read and check the whole volume and its snapshots.

        :raise Wrong: something is wrong.
        """
        read = Step("read", 0, self.shadow.size)
        while self._armed.get("read") and read.length:
            self.step(read)
        self.step(read)
        if not self._armed.get("read"):
            for number, frozen in enumerate(self._frozen):
                self._look_back(number, frozen)

    def _look_back(self, number: int, frozen: Shadow) -> None:
        try:
            data = self._player.read_snapshot(number)
        except StepFailed as failure:
            name = f"snapshot {number + 1}"
            remark = f"reading it failed with {failure}"
            found = Finding(
                Damage.ERROR, expected=error(0), seen=error(failure.number), request=name,
                remark=remark,
            )  # fmt: skip
            raise Wrong(found.line, [found]) from None
        if data is None:
            return
        if len(data) != frozen.size:
            found = Finding(
                Damage.SIZE, expected=size(frozen.size), seen=size(len(data)),
                request=f"snapshot {number + 1}",
            )  # fmt: skip
            raise Wrong(found.line, [found])
        findings = frozen.check(0, data)
        if findings:
            raise Wrong(f"snapshot {number + 1}:\n{render(findings, _SHOWN)}", findings)

    def _due(self, step: Step) -> int | None:
        """Return the errno that is armed for a step; a step of length 0 does not meet a fault."""
        armed = self._armed.get(step.do)
        return armed.pop(0) if armed and (step.length or step.do == "flush") else None

    def _failed(self, step: Step, data: bytes) -> None:
        if step.do == "write":
            self.shadow.maybe_write(step.offset, data)
        elif step.do == "zero":
            self.shadow.zero(step.offset, step.length, maybe=True)
        elif step.do == "discard":
            self.shadow.discard(step.offset, step.length)

    def _done(self, step: Step, data: bytes, answer: Data | Sequence[Extent] | None) -> None:
        shadow = self.shadow
        match step.do:
            case "write":
                shadow.write(step.offset, data, fua=step.fua)
            case "zero":
                shadow.zero(step.offset, step.length, fua=step.fua)
            case "discard":
                shadow.discard(step.offset, step.length)
            case "flush":
                shadow.flush()
            case "snapshot":
                shadow.flush()
                self._frozen.append(shadow.copy())
            case "resize":
                shadow.resize(step.size)
                shadow.flush()
            case "power-cut":
                shadow.power_cut()
            case "kill":
                shadow.power_cut()
                self._armed.clear()  # faults are in the memory of the server
            case "fault":
                self._armed.setdefault(step.kind, []).append(getattr(errno, step.errno))
            case "read":
                self._read(step, cast("Data", answer))
            case "status":
                self._status(step, cast("Sequence[Extent]", answer))

    def _read(self, step: Step, data: Data) -> None:
        if len(data) != step.length:
            found = Finding(
                Damage.LENGTH, expected=size(step.length), seen=size(len(data)), request=str(step)
            )
            raise Wrong(found.line, [found])
        try:
            self.shadow.settle(step.offset, data)
        except NotPermitted as refused:
            text = render(refused.findings, _SHOWN)
            raise Wrong(f"{step}:\n{text}", refused.findings) from None

    def _status(self, step: Step, extents: Sequence[Extent]) -> None:
        if not extents and step.length:
            raise _false_status(step, "no extent")
        at = step.offset
        for extent in extents:
            end = step.offset + step.length
            if extent.length <= 0 or at >= end:
                raise _false_status(step, f"extent {extent} at {at}, the range ends at {end}")
            length = min(extent.length, end - at)
            if extent.flags & STATE_ZERO:
                findings = self.shadow.check(at, bytes(length))
                if findings:
                    text = render(findings, _SHOWN)
                    zeroes = Content(What.ZEROES)
                    raise Wrong(
                        f"{step}: said to read as zeroes at {at}+{length}:\n{text}",
                        [replace(one, damage=Damage.STATUS, seen=zeroes) for one in findings],
                    )
            at += length


def _outcome(step: Step, seen: int, expected: int, remark: str) -> Finding:
    """Return the finding of a request that ended with an errno where another was due."""
    return Finding(
        Damage.ERROR, expected=error(expected), seen=error(seen), request=str(step), remark=remark
    )


def _false_status(step: Step, remark: str) -> Wrong:
    found = Finding(Damage.STATUS, request=str(step), remark=remark)
    return Wrong(found.line, [found])
