"""What cases of vhost-user-blk say about a request of a ring."""

from __future__ import annotations

import pytest

from oracles.damage import Damage
from oracles.shadow import Shadow
from oracles.stamps import Identity
from qbdcheck.kit.virtio_blk import judge, named
from qbdcheck.programs.requests_sent import OK, forget, last_requests
from qbdcheck.targets.disk_io import WrongData


def test_wrong_data_names_the_read_and_its_buffers() -> None:
    shadow = Shadow(4096, Identity(1, 1))
    shadow.write(0, shadow.stamped(0, 1024))
    with pytest.raises(WrongData) as caught:
        judge(shadow, 0, bytes(1024), "a read of 1024 bytes at 0, with 2 regions of memory")
    finding = caught.value.findings[0]
    assert finding.damage is Damage.ZEROED
    assert finding.line.startswith("a read of 1024 bytes at 0, with 2 regions of memory: offset 0")


def test_what_is_sent_has_a_name_until_it_was_survived() -> None:
    forget()  # what earlier tests of this process sent
    try:
        with named("a chain with a loop"):
            assert [one.result for one in last_requests()] == [""]
        assert [(one.text, one.result) for one in last_requests()] == [("a chain with a loop", OK)]
        with pytest.raises(AssertionError), named("a short header"):
            raise AssertionError
        assert last_requests()[-1].result == ""
    finally:
        forget()
