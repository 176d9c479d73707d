"""The messages of the cluster, its times, and what a granule consists of.

Each message that a follower sends has its incarnation, which counts its starts. A leader ignores
the answers of an incarnation that has not introduced itself (``Hello``): what an earlier one
acknowledged may be lost.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

NODES = (1, 2, 3)
QUORUM = 2

TICK_S = 0.05
"""The time between two calls of ``tick``: heartbeats, retries and limits."""
LEASE_S = 0.5
"""A leader serves reads for this long after it sent a heartbeat that a follower answered."""
PROMISE_S = LEASE_S * 1.1
"""A follower elects no other leader for this long; longer, because clocks run differently fast."""
STAGGER_S = 0.15
"""The nodes start elections one after another."""
FETCH_LIMIT_S = 1.0
"""A new leader that cannot read what it lacks in this time gives up."""
RETRY_S = 0.15
"""A gateway sends a request again after this time, to the next node; then it waits longer."""
RETRY_MAX_S = 0.6
REQUEST_LIMIT_S = 6.0
"""A gateway fails a request after this time; nothing is known about its effect then."""
FAILOVER_S = 4.0
"""The stated failover time: a quorum that can talk serves requests after this time at most."""
BATCH = 256
"""Granules that are sent again in one tick, at most."""

Version = tuple[int, int]
"""The epoch, and the number of the write in it: of two versions the higher one is newer."""
Table = tuple[Version, ...]
"""The version of each granule."""


class Record(NamedTuple):
    """The contents of a granule.

    :ivar origins: the last write of each client, so that one that is repeated is done once.
    """

    version: Version
    origins: tuple[tuple[int, int], ...]
    data: bytes


class Kind(StrEnum):
    """Requests of clients. Each concerns one granule, except a flush."""

    READ = "read"
    WRITE = "write"
    FLUSH = "flush"


class Request(NamedTuple):
    """A gateway asks the leader. Its writes to one granule follow one another."""

    client: int
    number: int
    kind: str
    granule: int = 0
    start: int = 0
    data: bytes = b""


class Reply(NamedTuple):
    """The leader has done a request; ``data`` is the whole granule for a read."""

    client: int
    number: int
    data: bytes


class NotLeader(NamedTuple):
    """Another node is asked better; 0: this node knows of none."""

    client: int
    number: int
    leader: int


class Ask(NamedTuple):
    """A candidate asks for votes."""

    epoch: int


class State(NamedTuple):
    """What a follower tells about itself, in a vote or to introduce itself.

    :ivar is_doubtful: writes that it acknowledged may be missing.
    :ivar is_blank: its epoch and its votes may be missing too.
    """

    incarnation: int
    is_doubtful: bool
    is_blank: bool
    table: Table


class Vote(NamedTuple):
    """A vote for a candidate."""

    epoch: int
    state: State


class Old(NamedTuple):
    """The receiver's epoch is over."""

    epoch: int


class Heartbeat(NamedTuple):
    """The leader renews its lease; ``sent`` is the time of its own clock."""

    epoch: int
    sent: float


class HeartbeatAck(NamedTuple):
    """A follower promises not to elect another leader for PROMISE_S."""

    epoch: int
    incarnation: int
    is_doubtful: bool
    sent: float


class Introduce(NamedTuple):
    """The leader does not know this incarnation of a follower."""

    epoch: int


class Hello(NamedTuple):
    """The answer to it."""

    epoch: int
    state: State


class Synced(NamedTuple):
    """A follower has all that it may have lost."""

    epoch: int
    incarnation: int


class Fetch(NamedTuple):
    """A new leader reads what it lacks."""

    epoch: int
    granules: tuple[int, ...]


class Fetched(NamedTuple):
    """The answer to it."""

    epoch: int
    incarnation: int
    granule: int
    record: Record


class Put(NamedTuple):
    """The leader writes a granule of a follower."""

    epoch: int
    granule: int
    record: Record


class PutAck(NamedTuple):
    """The version that a follower now has; it may lose it if its power is cut."""

    epoch: int
    incarnation: int
    granule: int
    version: Version


class Sync(NamedTuple):
    """The leader asks a follower to make all that it has durable."""

    epoch: int
    flush: int


class SyncAck(NamedTuple):
    """The answer to it."""

    epoch: int
    incarnation: int
    flush: int


Message = (
    Request | Reply | NotLeader | Ask | Vote | Old | Heartbeat | HeartbeatAck | Introduce | Hello
    | Synced | Fetch | Fetched | Put | PutAck | Sync | SyncAck
)  # fmt: skip
