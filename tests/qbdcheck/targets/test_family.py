"""What happens to a snapshot is in the life of all disks that may share data with it."""

from __future__ import annotations

from oracles.history import History
from oracles.stamps import Identity
from qbdcheck.targets.family import Family


def test_all_members_get_the_moment_also_those_with_a_new_history() -> None:
    family, volume, other = Family(), [History(Identity(1, 2))], History(Identity(1, 3))
    family.join(lambda: volume[0])
    family.join(lambda: other)
    volume[0] = History(Identity(1, 2))
    family.note("snapshot s1 was removed")
    for history in (volume[0], other):
        [moment] = history.life((0, 512))
        assert (moment.kind, moment.text, moment.lane) == (
            "snapshot",
            "snapshot s1 was removed",
            "",
        )
