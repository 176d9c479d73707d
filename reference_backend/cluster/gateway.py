"""The client of the cluster in one process: finds the leader, repeats requests until it answers.

A write keeps its number when it is repeated, so that the cluster does it once. The next write of
the same granule waits for it. A request that has no answer after REQUEST_LIMIT_S fails.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from reference_backend.cluster import messages as m


@dataclass
class _Pending:
    request: m.Request
    began: float
    next_try: float
    asked: int = 0
    tries: int = 0


class Gateway:
    """Requests under way. Call `receive` and `tick`; send ``outbox``, take what is in ``done``.

    :param client: a number that no other gateway, of any start, has.
    :ivar node: the node that is asked first, and then the leader.
    :ivar done: number, and data of each request that ended; None if it failed.
    """

    def __init__(self, client: int, first_node: int = 1) -> None:
        self.client = client
        self.outbox: list[tuple[int, m.Message]] = []
        self.done: list[tuple[int, bytes | None]] = []
        self.node = first_node
        self._last = 0
        self._pending: dict[int, _Pending] = {}
        self._waiting: dict[int, deque[tuple[m.Request, float]]] = {}
        """Writes behind the one under way, for each granule with one."""

    def submit(
        self, kind: str, now: float, granule: int = 0, start: int = 0, data: bytes = b""
    ) -> int:
        """Start a request; return its number."""
        self._last += 1
        request = m.Request(self.client, self._last, kind, granule, start, data)
        if kind == m.Kind.WRITE:
            if granule in self._waiting:
                self._waiting[granule].append((request, now))
                return self._last
            self._waiting[granule] = deque()
        self._begin(request, now, now)
        return request.number

    def receive(self, message: m.Message, now: float) -> None:
        """Handle an answer."""
        if isinstance(message, m.Reply) and message.client == self.client:
            self._end(message.number, message.data, now)
        elif isinstance(message, m.NotLeader) and message.client == self.client:
            pending = self._pending.get(message.number)
            if pending is not None and message.leader not in {0, self.node}:
                self.node = message.leader
                self._send(pending, now)

    def tick(self, now: float) -> None:
        """Repeat what has no answer, and fail what has waited for too long."""
        for pending in [one for one in self._pending.values() if now >= one.next_try]:
            if now >= pending.began + m.REQUEST_LIMIT_S:
                self._end(pending.request.number, None, now)
                continue
            if pending.asked == self.node:  # else another request has found a better one
                self.node = self.node % len(m.NODES) + 1
            self._send(pending, now)

    def _begin(self, request: m.Request, began: float, now: float) -> None:
        pending = self._pending[request.number] = _Pending(request, began, now)
        self._send(pending, now)

    def _send(self, pending: _Pending, now: float) -> None:
        pending.next_try = now + min(m.RETRY_S * 2**pending.tries, m.RETRY_MAX_S)
        pending.tries += 1
        pending.asked = self.node
        self.outbox.append((self.node, pending.request))

    def _end(self, number: int, data: bytes | None, now: float) -> None:
        pending = self._pending.pop(number, None)
        if pending is None:
            return
        self.done.append((number, data))
        request = pending.request
        if request.kind == m.Kind.WRITE:
            self._begin_next(self._waiting[request.granule], request.granule, now)

    def _begin_next(self, queue: deque[tuple[m.Request, float]], granule: int, now: float) -> None:
        while queue:
            request, began = queue.popleft()
            if now < began + m.REQUEST_LIMIT_S:
                self._begin(request, began, now)
                return
            self.done.append((request.number, None))
        del self._waiting[granule]
