"""The workers of a scheduler: found, checked, labelled, and missed when they are silent."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from qbdcheck import clock
from qbdcheck.errors import SetupError
from qbdcheck.workers import on_worker
from qbdcheck.workers.setup import Setup

SILENCE_VARIABLE = "QBDCHECK_WORKER_SILENCE"
"""Environment variable: seconds without a sign of life after which a worker counts as lost."""
SILENCE_S = 30.0
_READ_S = 2.0
"""Seconds between two readings of the list of workers; events tell of most changes at once."""


@dataclass
class Member:
    """One worker.

    :ivar key: is never used again, unlike the address.
    :ivar ready: what its engine said (`on_worker.describe`); None while it is being described.
    :ivar refused: why it is not used.
    :ivar cannot: the units that it cannot run, and its result for each, as bytes.
    """

    key: str
    address: str
    name: str
    host: str
    nthreads: int
    is_running: bool = True
    ready: dict[str, Any] | None = None
    refused: str = ""
    cannot: dict[tuple[str, str], bytes] = field(default_factory=dict)
    without_guest: frozenset[tuple[str, str]] = frozenset()
    seen: Any = None
    seen_at_s: float = 0.0

    @property
    def is_usable(self) -> bool:
        """Whether it was checked, and may get work."""
        return self.ready is not None and not self.refused

    @property
    def breadth(self) -> int:
        """How much it can run: the narrowest gets what it can, so that the others stay free."""
        return -len(self.cannot) - len(self.without_guest)

    @property
    def labels(self) -> str:
        """What it is, in words."""
        found = (self.ready or {}).get("labels", {})
        words = [f"{self.nthreads} thread{'s' * (self.nthreads != 1)}"]
        words += ["root"] * bool(found.get("root")) + ["guest"] * bool(found.get("guest"))
        words.append(f"{len(found.get('programs', ()))} programs")
        return f"{self.name} on {found.get('host', self.host)}: {', '.join(words)}"


class Members:
    """All workers that the scheduler has.

    :param say: prints a line.
    :param wait: lets the answer of a future come as a ``described`` to `described`.
    """

    def __init__(
        self,
        client: Any,
        setup: Setup,
        say: Callable[[str], None],
        wait: Callable[[Any, str, Any], None],
    ) -> None:
        self._client = client
        self._setup = setup
        self._say = say
        self._wait = wait
        self._all: dict[str, Member] = {}
        self._futures: dict[str, Any] = {}
        self._read_at_s = 0.0
        self._missing: list[tuple[str, str]] = []
        self._silent: dict[str, Any] = {}
        self._silence_s = _silence_s()

    @property
    def usable(self) -> list[Member]:
        """The workers that may get work."""
        return [one for one in self._all.values() if one.is_usable]

    @property
    def being_described(self) -> bool:
        """Whether the description of a worker is still to come."""
        return bool(self._futures)

    @property
    def is_settled(self) -> bool:
        """Whether there are workers, and all are described."""
        return bool(self._all) and not self._futures

    @property
    def threads(self) -> int:
        """The number of units that can run at the same time."""
        return sum(one.nthreads for one in self.usable)

    def why_none(self) -> str:
        """Return why no worker can be used, in one line."""
        refused = [f"{one.name} ({one.address}): {one.refused}" for one in self._all.values()
                   if one.refused]  # fmt: skip
        if not refused:
            return "the scheduler has no worker; start some with: dask worker ADDRESS --nthreads 1"
        return f"no worker can be used: {'; '.join(refused)}"

    def read_soon(self) -> None:
        """Read the list of workers in the next `refresh`."""
        self._read_at_s = 0.0

    def refresh(self) -> None:
        """Read the list of workers, if it is time: describe new ones, miss those that are gone.

        :raise SetupError: the scheduler does not answer.
        """
        now_s = clock.now_s()
        if now_s < self._read_at_s:
            return
        self._read_at_s = now_s + _READ_S
        try:
            found: dict[str, Any] = self._client.scheduler_info(n_workers=-1)["workers"]
        except Exception as error:
            raise SetupError(
                f"the scheduler does not answer: {error}; --resume runs the rest"
            ) from None
        for address, info in found.items():
            key = _key(address, info)
            member = self._all.get(key)
            if self._silent.get(key) == info["last_seen"]:
                continue
            if member is None:
                member = self._add(key, address, info)
            if member.seen != info["last_seen"]:
                member.seen, member.seen_at_s = info["last_seen"], now_s
            member.is_running = info["status"] == "running"
        for member in self._all.values():
            info = found.get(member.address)
            if info is None or member.key != _key(member.address, info):
                if not member.is_running:  # missed before; the event that says why did not come
                    self._missing.append((member.address, "was lost"))
                member.is_running = False
            elif now_s - member.seen_at_s > self._silence_s:
                self._silent[member.key] = member.seen
                silence = f"gave no sign of life for {self._silence_s:g} s"
                self._missing.append((member.address, silence))

    def missing(self) -> list[tuple[str, str]]:
        """Return the addresses of workers that are gone, and how; each once."""
        found, self._missing = self._missing, []
        return found

    def remove(self, address: str) -> Iterator[Member]:
        """Yield the workers with this address, which are gone."""
        for key in [key for key, one in self._all.items() if one.address == address]:
            self._futures.pop(key, None)
            yield self._all.pop(key)

    def described(self, key: str, answer: dict[str, Any] | None) -> None:
        """Handle the description of a worker."""
        if self._futures.pop(key, None) is None or key not in self._all:
            return
        member, answer = self._all[key], answer or {"lost": "it did not answer"}
        member.refused = str(answer.get("refused") or answer.get("lost") or "")
        if member.refused:
            self._say(f"worker {member.name} ({member.address}) is not used: {member.refused}")
            return
        member.ready = answer
        member.cannot = {
            (case_id, image_format): text.encode()
            for case_id, image_format, text in answer["refused_units"]
        }
        member.without_guest = frozenset(map(tuple, answer["without_guest"]))

    def _add(self, key: str, address: str, info: dict[str, Any]) -> Member:
        """Start the description of a new worker."""
        member = Member(key, address, str(info["name"]), str(info["host"]), int(info["nthreads"]))
        member.seen_at_s = clock.now_s()
        self._all[key] = member
        future = self._client.submit(
            on_worker.describe,
            self._setup,
            key=f"describe-{self._setup.session}-{key}",
            workers=[address],
            allow_other_workers=False,
            pure=False,
        )
        self._futures[key] = future
        self._wait(future, "described", key)
        return member


def _key(address: str, info: dict[str, Any]) -> str:
    """Return what no other worker has, not even the next one at the same address."""
    return f"{address} {info['local_directory']}"


def _silence_s() -> float:
    try:
        return float(os.environ.get(SILENCE_VARIABLE, "")) or SILENCE_S
    except ValueError:
        return SILENCE_S
