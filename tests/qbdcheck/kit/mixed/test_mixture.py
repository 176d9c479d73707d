"""Mixtures rely on no policy that a target waives; a snapshot that is replaced is not judged."""

from __future__ import annotations

from functools import partial

import pytest

from qbdcheck.errors import SetupError, TooSlowError
from qbdcheck.kit.covering.events import RESTS_ON, Events
from qbdcheck.kit.mixed.mixture import mix
from qbdcheck.kit.nbd_io import connect
from qbdcheck.seed import Seed
from qbdcheck.targets.sibling_export import remove_snapshot
from tests.qbdcheck.kit.conftest import open_target, scratch
from tests.qbdcheck.targets.conftest import Opener

__all__ = ["open_target", "scratch"]


def mixed(open_target: Opener, waives: list[str], within_s: float = 60) -> str:
    """Play a mixture on the reference backend; return the last line of the log."""
    log: list[str] = []
    session = open_target("reference")
    session.capabilities = frozenset({"multi_conn", "snapshot_read", "clone", "resize"})
    session.description = session.description.model_copy(update={"waives": waives})
    mix(session, partial(connect, session), Seed(3), log.append, rounds=20, within_s=within_s)
    return log[-1]


def test_events_that_rest_on_waived_policies_do_not_happen(open_target: Opener) -> None:
    line = mixed(open_target, [*RESTS_ON.values(), "requests-take-effect-at-one-moment"])
    assert line.startswith("20 of 20 rounds with ") and "flush" in line
    assert not any(word in line for word in RESTS_ON)


def test_they_happen_on_a_target_that_waives_nothing(open_target: Opener) -> None:
    line = mixed(open_target, [])
    assert sum(word in line for word in RESTS_ON) >= 3, line


def test_a_server_that_starts_slowly_gets_fewer_rounds(open_target: Opener) -> None:
    assert mixed(open_target, [], within_s=0).startswith("6 of 20 rounds")


def test_a_snapshot_that_is_replaced_is_not_judged(
    open_target: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = open_target("reference")
    disk = session.new_disk("1M")
    events = Events(disk, partial(connect, session), Seed(1).stream("events"), is_coherent=True)
    events.tracking = "qbd:dirty"
    events.happen("snapshot", [])
    events.clients.first().write(0, 4096)
    take = disk.backend.snapshot

    def replace(name: str) -> None:
        remove_snapshot(disk.backend, name)
        take(name)

    events.happen("snapshot again", [])
    assert events.snapshots == 1 and events.tracking
    monkeypatch.setattr(disk.backend, "snapshot", replace)
    events.happen("snapshot again", [])
    assert events.snapshots == 0 and not events.tracking


def test_a_command_of_the_profile_may_refuse_the_snapshot_and_a_slow_one_is_no_refusal(
    open_target: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = open_target("reference")
    disk = session.new_disk("1M")
    events = Events(disk, partial(connect, session), Seed(1).stream("events"), is_coherent=True)
    events.happen("snapshot", [])
    errors = [SetupError("volume.snapshot: it exists"), TooSlowError("it did not end")]

    def refuse(_name: str) -> None:
        raise errors.pop(0)

    monkeypatch.setattr(disk.backend, "snapshot", refuse)
    events.happen("snapshot again", [])
    assert events.snapshots == 1
    with pytest.raises(TooSlowError):
        events.happen("snapshot again", [])
