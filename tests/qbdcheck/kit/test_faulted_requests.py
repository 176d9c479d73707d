"""A request that should fail and does not: who hid the error, and what is missing."""

from __future__ import annotations

import pytest

from oracles.damage import Damage
from qbdcheck.kit.armed_rules import ArmedRules
from qbdcheck.kit.faulted_requests import NotFailed, expect_faulted
from qbdcheck.kit.nbd_io import connect
from qbdcheck.kit.planted_secret import plant
from qbdcheck.kit.request_errors import RequestFailed
from qbdcheck.runner.evidence import findings_of
from qbdcheck.targets.disk import Disk
from qbdcheck.targets.session import TargetSession
from tests.qbdcheck.targets.conftest import Opener

_SECRET = b"not for you."


def flush_that_must_fail(session: TargetSession, disk: Disk) -> RequestFailed:
    rules = ArmedRules(disk, lambda *_words: None)
    fault = rules.add({"event": "flush_to_disk", "errno": "EIO", "iotype": "flush"})
    with connect(session, disk) as io:
        io.write(1 << 20, 65536)  # one of the bugs needs an odd MiB
        with expect_faulted(rules, fault, RequestFailed, "FLUSH", disk, cut=True) as caught:
            io.flush()
    rules.heal()
    return caught.value


def test_the_error_that_came_is_given_back(open_target: Opener) -> None:
    session = open_target("reference")
    assert flush_that_must_fail(session, session.new_disk("4M")).errno == 5


@pytest.mark.parametrize(
    ("bug", "text"),
    [
        ("flush-one-child-only", "reported as done, but it did not reach the disk below"),
        ("flush-error-swallowed", "the disk below failed it, and the backend reported success"),
    ],
)
def test_a_success_is_explained_by_the_rule_and_by_what_is_missing(
    open_target: Opener, bug: str, text: str
) -> None:
    session = open_target(f"mutant:{bug}")
    disk = session.new_disk("4M")
    with pytest.raises(NotFailed, match=f"^FLUSH: {text}") as caught:
        flush_that_must_fail(session, disk)
    found = findings_of(caught.value)
    assert found[0].damage in (Damage.NEVER_WRITTEN, Damage.STALE)
    assert found[0].evidence[-1].startswith(f"FLUSH: {text}")
    assert found[-1].damage is Damage.ERROR


def test_a_refused_write_that_was_done_is_no_leak(open_target: Opener) -> None:
    session = open_target("mutant:refused-write-partial")
    disk = session.new_disk("1M", prefill=False)
    with pytest.raises(AssertionError, match="at 1044480 was refused, and its data is in") as told:
        plant(disk, _SECRET)
    assert findings_of(told.value)[0].damage is Damage.OTHER_WRITE


def test_a_server_that_refuses_leaves_no_secret_in_the_volume(open_target: Opener) -> None:
    disk = open_target("reference").new_disk("1M", prefill=False)
    plant(disk, _SECRET)
    disk.verify()
