"""The mutants of the cluster: what each is, and the kinds of damage that name it."""

from __future__ import annotations

from dataclasses import dataclass

from mutants.cluster import bugs
from reference_backend.cluster.leader import Leader
from reference_backend.cluster.node import Node
from reference_backend.cluster.replica import Replica


@dataclass(frozen=True)
class ClusterMutant:
    """A wrong, or unusual, cluster.

    :ivar shows: the kinds of damage that name it (values of `oracles.damage.Damage`); empty for a
        control.
    :ivar faults: kinds of faults that let it show. :ivar seed: of a schedule of them that does;
        None if none is known. :ivar at_events: the faults of this schedule follow events.
    """

    name: str
    change: type[Node | Leader | Replica]
    shows: frozenset[str]
    faults: tuple[str, ...] = ()
    seed: int | None = None
    at_events: bool = False

    @property
    def is_control(self) -> bool:
        """Whether it is right."""
        return not self.shows

    @property
    def about(self) -> str:
        """What it does."""
        return " ".join((self.change.__doc__ or "").split())

    @property
    def node(self) -> type[Node]:
        """The class of its nodes."""
        if issubclass(self.change, Leader):
            return bugs.with_leader(self.change)
        return self.change if issubclass(self.change, Node) else Node

    @property
    def replica(self) -> type[Replica]:
        """The class of its stores."""
        return self.change if issubclass(self.change, Replica) else Replica


_OLD = frozenset({"lost", "stale"})
_ORDER = _OLD | {"not linearizable"}
_PARTITIONS = ("partition", "one way", "bridge", "pause")
_RESTARTS = ("kill", "cut", *_PARTITIONS)

_ALL = (
    ClusterMutant("ack-before-quorum", bugs.AckBeforeQuorum, _OLD, ("wipe", *_RESTARTS), seed=22),
    ClusterMutant("stale-follower-read", bugs.StaleFollowerRead, _ORDER, ("loss",), seed=3),
    ClusterMutant("ignores-epoch", bugs.IgnoresEpoch, _ORDER, ("pause", "delay", "bridge"), seed=7),
    ClusterMutant(
        "resync-skips-granule", bugs.ResyncSkipsGranule, _ORDER, ("kill", "wipe"), seed=1
    ),
    ClusterMutant(
        "resync-overwrites-newer", bugs.OverwritesNewer, _ORDER, ("duplicate", "delay"), seed=2
    ),
    ClusterMutant("drops-in-flight", bugs.DropsInFlight, _ORDER, ("loss", *_RESTARTS), seed=9),
    ClusterMutant(
        "counts-old-incarnation", bugs.CountsOldIncarnation, _ORDER, ("cut", "wipe"), seed=1
    ),
    ClusterMutant(
        "replays-retry", bugs.ReplaysRetry, _ORDER, ("loss", "delay", "duplicate"), seed=0
    ),
    ClusterMutant("write-hole", bugs.WriteHole, _OLD | {"torn"}, ("cut", "room"), seed=14),
    ClusterMutant("one-slot", bugs.OneSlot, _OLD, ("room", "wipe"), seed=27),
    ClusterMutant(
        "trusts-lost-store", bugs.TrustsLostStore, _ORDER, ("cut", "wipe", "partition"), seed=176
    ),
    ClusterMutant(
        "flush-leader-only", bugs.FlushLeaderOnly, _OLD, ("room", "wipe", "cut"), seed=213
    ),
    ClusterMutant("read-of-uncommitted", bugs.ReadOfUncommitted, _ORDER, _RESTARTS, seed=145),
    ClusterMutant(
        "wall-clock-lease", bugs.WallClockLease, _ORDER, ("clock", *_PARTITIONS), seed=222
    ),
    ClusterMutant("two-leaders", bugs.TwoLeaders, _ORDER, ("one way", "loss", "bridge"), seed=580),
    ClusterMutant("long-lease", bugs.LongLease, _ORDER, ("partition",), seed=67, at_events=True),
    ClusterMutant(
        "forgets-epoch", bugs.ForgetsEpoch, _ORDER, ("kill", "cut", "room"), seed=3, at_events=True
    ),
    ClusterMutant(
        "lost-vote",
        bugs.LostVote,
        _ORDER | {"torn"},
        ("kill", "partition"),
        seed=1849,
        at_events=True,
    ),
    ClusterMutant("votes-without-waiting", bugs.VotesWithoutWaiting, _ORDER, _RESTARTS),
    ClusterMutant(
        "keeps-stray",
        bugs.KeepsStray,
        frozenset({"stale", "torn"}),
        ("client", "partition"),
        seed=65,
        at_events=True,
    ),
    ClusterMutant(
        "flush-counts-behind",
        bugs.FlushCountsBehind,
        _OLD,
        ("wipe", "cut", "loss"),
        seed=1529,
        at_events=True,
    ),
    ClusterMutant("slow-failover", bugs.SlowFailover, frozenset()),
    ClusterMutant("read-only-minority", bugs.ReadOnlyMinority, frozenset()),
    ClusterMutant("full-resync", bugs.FullResync, frozenset()),
)


def catalogue() -> dict[str, ClusterMutant]:
    """Return the mutants by name."""
    return {one.name: one for one in _ALL}
