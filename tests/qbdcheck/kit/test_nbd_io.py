"""The NBD client that updates the shadow."""

from __future__ import annotations

import errno

import pytest

from blockio.layers import Command, CommandFlag
from oracles.damage import Damage
from qbdcheck.errors import CaseBroken
from qbdcheck.files import ROOT
from qbdcheck.kit.armed_rules import ArmedRules
from qbdcheck.kit.nbd_io import CLOSED, NbdIo, connect
from qbdcheck.kit.nbd_requests import describe
from qbdcheck.kit.request_errors import RequestFailed, RequestHangs, RequestLost
from qbdcheck.kit.sent_request import SentRequest
from qbdcheck.runner.evidence import basis_of, findings_of
from qbdcheck.targets.disk import Disk
from qbdcheck.targets.disk_io import WrongData
from qbdcheck.targets.session import TargetSession
from reference_backend.client import Client
from tests.qbdcheck.targets.conftest import Opener


@pytest.fixture
def session(open_target: Opener) -> TargetSession:
    return open_target("reference")


@pytest.fixture
def disk(session: TargetSession) -> Disk:
    return session.new_disk("1M")


@pytest.fixture
def rules(disk: Disk) -> ArmedRules:
    return ArmedRules(disk, lambda *_words: None)


def test_all_changes_are_followed(session: TargetSession, disk: Disk) -> None:
    with connect(session, disk) as io:
        assert io.write(1000, 5000) == disk.shadow.expected(1000, 5000)
        io.write_zeroes(65536, 8192)
        io.discard(131072, 8192)
        io.write(200_000, 3, data=b"abc")
        assert io.read(200_000, 3) == b"abc"
        io.read(0, disk.size)
        io.flush()
    disk.verify()


def test_a_case_that_sends_a_request_behind_the_end_is_broken(
    session: TargetSession, disk: Disk
) -> None:
    behind = f"the case sends {{}} of 512 bytes at {disk.size} on the connection to disk"
    with connect(session, disk) as io:
        for request in (io.write, io.write_zeroes, io.discard, io.read):
            name = request.__name__.replace("discard", "trim").upper()
            with pytest.raises(CaseBroken, match=behind.format(name)):
                request(disk.size, 512)
        with pytest.raises(CaseBroken, match=behind.format("WRITE")):
            io.send(Command.WRITE, disk.size, 512)
        assert io.attempt(Command.WRITE, disk.size, 512) == errno.ENOSPC
        io.must_refuse(Command.READ, disk.size, 512)
    disk.verify()


def test_wrong_data_names_the_request(session: TargetSession, disk: Disk) -> None:
    with Client.connect(disk.uri) as other:
        other.write(4096, bytes(512))
    with connect(session, disk) as io:
        with pytest.raises(WrongData, match="READ of 1024 bytes at 4096 on the connection to disk"):
            io.read(4096, 1024)
        cookie = io.send(Command.READ, 4096, 512)
        with pytest.raises(WrongData, match="READ of 512 bytes at 4096"):
            io.finish(cookie)


@pytest.mark.parametrize("done", [False, True])
def test_a_failed_change_leaves_old_or_new(
    session: TargetSession, disk: Disk, rules: ArmedRules, done: bool
) -> None:
    when = {"when": "after"} if done else {}
    rules.add({"event": "none", "iotype": "write", "errno": "EIO", "once": True, **when})
    with connect(session, disk) as io:
        with pytest.raises(RequestFailed, match=r"WRITE of 512 bytes at 512 \(FUA\) .*errno 5"):
            io.write(512, 512, CommandFlag.FUA)
        assert disk.shadow.ambiguous() == [1]
        io.read(0, 4096)
        assert disk.shadow.ambiguous() == [], "what was read must stay"
    rules.settle()
    disk.verify()


def test_a_flush_makes_durable_only_what_was_acknowledged(
    session: TargetSession, disk: Disk
) -> None:
    with connect(session, disk) as io:
        io.write(0, 512)
        io.flush()
        io.write(512, 512)
        io.write(1024, 512, CommandFlag.FUA)
        io.send(Command.WRITE, 1536, 512)
        disk.backend.crash(seed=3)
    assert disk.shadow.ambiguous() == [1, 3]
    disk.verify()


def test_a_failed_flush_makes_nothing_durable(
    session: TargetSession, disk: Disk, rules: ArmedRules
) -> None:
    rules.add({"event": "none", "iotype": "flush", "errno": "EIO", "once": True})
    with connect(session, disk) as io:
        io.write(0, 512)
        with pytest.raises(RequestFailed, match=r"^FLUSH on the connection to disk failed"):
            io.flush()
        rules.settle()
        disk.backend.crash(seed=1)
    assert disk.shadow.ambiguous() == [0]


def test_requests_in_flight(session: TargetSession, disk: Disk) -> None:
    with connect(session, disk) as io:
        cookies = [io.send(Command.WRITE, number * 4096, 4096) for number in range(8)]
        io.send(Command.WRITE_ZEROES, 65536, 512)
        io.send(Command.TRIM, 131072, 512)
        io.send(Command.READ, 262144, 65536)
        assert disk.shadow.ambiguous(0, 512) == [0], "in flight: old or new"
        with pytest.raises(CaseBroken, match=r"READ of 1 bytes at 4095 .* overlaps WRITE of 4096"):
            io.send(Command.READ, 4095, 1)
        io.finish(cookies[5])
        io.finish_all()
        assert io.in_flight == 0
    assert 0 not in disk.shadow.ambiguous()
    disk.verify()


def test_a_lost_request_is_old_or_new(session: TargetSession, disk: Disk) -> None:
    io = connect(session, disk)
    io.client.cut()
    with pytest.raises(RequestLost, match="WRITE of 512 bytes at 1024"):
        io.write(1024, 512)
    assert disk.shadow.ambiguous() == [2]


def test_a_request_without_an_answer_is_a_time_out(session: TargetSession, disk: Disk) -> None:
    io = connect(session, disk)
    io.client.sock.settimeout(0.1)
    request = SentRequest(Command.READ, 0, 512, 0, b"", "the connection", (0, 512))

    def wait() -> None:
        io.client.receive_reply()

    with pytest.raises(RequestHangs, match=r"READ of 512 bytes at 0.*: no reply within") as caught:
        io._ask(request, wait)
    assert isinstance(caught.value, TimeoutError)
    (finding,) = findings_of(caught.value)
    assert finding.damage is Damage.HANG
    io.client.cut()


def test_an_attempt_that_is_refused_changes_nothing(session: TargetSession, disk: Disk) -> None:
    with connect(session, disk) as io:
        assert io.attempt(Command.WRITE, 0, 512) == 0
        assert io.attempt(Command.WRITE, 512, 512, 1 << 14) == errno.EINVAL
        assert io.attempt(Command.WRITE_ZEROES, 1024, 512) == 0
        io.client.cut()
        assert io.attempt(Command.WRITE, 2048, 512) == CLOSED
    assert disk.shadow.ambiguous() == []
    disk.verify()


def test_what_must_be_refused(session: TargetSession, disk: Disk) -> None:
    with connect(session, disk) as io:
        assert io.must_refuse(Command.READ, disk.size, 512) == errno.EINVAL
        assert io.must_refuse(Command.WRITE, disk.size, 512, errnos=(errno.ENOSPC,))
        with pytest.raises(AssertionError, match=r"READ of 512 bytes at 0 .*expected an error"):
            io.must_refuse(Command.READ, 0, 512)
        with pytest.raises(AssertionError, match="expected EIO, got EINVAL") as caught:
            io.must_refuse(Command.READ, disk.size, 512, errnos=(errno.EIO,))
        assert basis_of(caught.value, ()) == ("SHOULD: NBD, Error values",)
        io.client.cut()
        with pytest.raises(RequestLost, match="expected an error, but the server closed"):
            io.must_refuse(Command.READ, disk.size, 512, may_close=False)


def test_a_closed_connection_refuses_once(session: TargetSession, disk: Disk) -> None:
    with connect(session, disk) as io:
        io.client.cut()
        assert io.must_refuse(Command.READ, disk.size, 512) == CLOSED
        closed_at = f"WRITE of 1 bytes at 0 .*: not sent, .* closed it at READ .* at {disk.size}"
        with pytest.raises(RequestLost, match=closed_at):
            io.must_refuse(Command.WRITE, 0, 1)


def test_fua_is_left_out_where_it_is_not_offered(open_target: Opener) -> None:
    session = open_target(_reference("--no-fua"))
    disk = session.new_disk("1M")
    with connect(session, disk) as io:
        io.write(0, 4096, CommandFlag.FUA)
        io.write_zeroes(8192, 4096, CommandFlag.FUA)
        io.discard(16384, 4096, CommandFlag.FUA)
        io.finish(io.send(Command.WRITE, 65536, 4096, CommandFlag.FUA))
        assert io.attempt(Command.WRITE, 0, 4096, CommandFlag.FUA) == errno.EINVAL
    disk.verify()


def test_long_ranges_are_sent_in_parts_where_they_are_refused(open_target: Opener) -> None:
    session = open_target(_reference("--layer mutants.rare_controls:LongEffectsRefused"))
    disk = session.new_disk("100M", prefill=False)
    with connect(session, disk) as io:
        io.write(70 << 20, 8192)
        assert io.attempt(Command.WRITE_ZEROES, 4096, 90 << 20) == errno.EOVERFLOW
        io.write_zeroes(4096, 90 << 20)
        io.discard(0, 100 << 20)
    disk.verify()


def _reference(arguments: str) -> str:
    text = (ROOT / "targets/reference.yaml").read_text()
    return text.replace("{options}", f"{arguments} {{options}}", 1)


def test_a_uri_needs_a_shadow(session: TargetSession, disk: Disk) -> None:
    with pytest.raises(CaseBroken, match="a URI needs shadow="):
        connect(session, disk.uri)
    with connect(session, disk.uri, disk.shadow, structured=False) as io:
        io.write(0, 512)
    disk.verify()


def test_a_server_without_flush_is_not_asked(session: TargetSession, disk: Disk) -> None:
    with connect(session, disk) as io:
        io.client.flags &= ~(1 << 2)
        io.write(0, 512)
        io.flush()
        disk.backend.crash(seed=1)
    assert disk.shadow.ambiguous() == [0], "nothing became durable"


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ((Command.FLUSH,), "FLUSH"),
        ((Command.WRITE, 512, 1, CommandFlag.FUA), "WRITE of 1 bytes at 512 (FUA)"),
        ((99, 0, 4, 1 << 14 | 1), "command 99 of 4 bytes at 0 (FUA, 0x4000)"),
    ],
)
def test_requests_in_words(request_: tuple[int, ...], text: str) -> None:
    assert describe(*request_) == text


def test_the_client_of_a_handshake_can_be_used(disk: Disk) -> None:
    with NbdIo(Client.connect(disk.uri), disk.shadow) as io:
        io.write(0, 512)
        assert io.block_sizes[0] == 1
    disk.verify()


# A large minimum block ---------------------------------------------------------------------------


@pytest.fixture
def large(session: TargetSession) -> Disk:
    """A disk with a minimum block of 64 KiB."""
    return session.new_disk("1M", min_block=65536)


def test_requests_have_whole_blocks(session: TargetSession, large: Disk) -> None:
    with connect(session, large) as io:
        assert io.write(70_000, 512) == large.shadow.expected(70_000, 512)
        io.write_zeroes(130_000, 4096)
        io.discard(large.size - 512, 512)
        assert io.write(200_000, 3, data=b"abc") == b"abc"
        assert io.read(200_000, 3) == b"abc"
        assert io.attempt(Command.WRITE, 300_000, 512) == 0
        assert io.attempt(Command.WRITE, 300_000, 512, exact=True) == errno.EINVAL
        with pytest.raises(RequestFailed):
            io.read(300_000, 512, exact=True)
        io.must_refuse(Command.WRITE, large.size, 512, errnos=(errno.ENOSPC, errno.EINVAL))
        io.must_refuse(Command.READ, (1 << 64) - 512, 512)
        io.read(0, large.size)
    large.verify()


def test_neighbours_in_one_block_wait_for_each_other(session: TargetSession, large: Disk) -> None:
    with connect(session, large) as one, connect(session, large) as other:
        first = one.send(Command.WRITE, 0, 512)
        flush = one.send(Command.FLUSH)
        third = other.send(Command.WRITE, 1024, 512)
        assert (len(one._in_flight), len(other._in_flight)) == (0, 1)
        assert (one.in_flight, other.in_flight) == (2, 1)
        assert one.finish(flush).error == one.finish(first).error == 0
        other.finish(third)
        read = other.send(Command.READ, 1000, 100)
        assert bytes(other.finish(read).data) == large.shadow.expected(1000, 100)
        one.send(Command.WRITE, 65536, 65536)
        with pytest.raises(CaseBroken, match="overlaps"):
            one.send(Command.WRITE, 65600, 512)
        one.finish_all()
    large.verify()


def test_a_failure_is_that_of_its_own_request(session: TargetSession, large: Disk) -> None:
    rules = ArmedRules(large, lambda *_words: None)
    rules.add({"event": "none", "iotype": "write", "errno": "EIO", "once": True})
    with connect(session, large) as io:
        cookie = io.send(Command.WRITE, 0, 512)
        io.write(1024, 512)
        with pytest.raises(RequestFailed, match="WRITE of 65536 bytes at 0"):
            io.finish(cookie)
    large.verify()


def test_requests_keep_to_the_maximum_too(session: TargetSession) -> None:
    disk = session.new_disk("1M", min_block=65536, max_block=65536)
    with connect(session, disk) as io:
        io.write(4096, 65536)  # the client divides it
        io.send(Command.WRITE, 4096, 65536)
        io.finish_all()
        io.must_refuse(Command.READ, disk.size - 4096, 8192)
        io.read(0, disk.size)
    disk.verify()


def test_a_handshake_without_sizes_uses_the_known_ones(session: TargetSession, large: Disk) -> None:
    with connect(session, large, export_name=True) as io:
        assert io.client.block_sizes is None
        assert io.block_sizes[0] == 65536
        io.write(4096, 512)
    large.verify()


def test_a_connection_that_ends_in_place_of_an_errno_breaks_a_should(
    session: TargetSession, disk: Disk
) -> None:
    with connect(session, disk) as io:
        io.client.cut()
        with pytest.raises(RequestLost, match="expected EINVAL, but the server closed") as caught:
            io.must_refuse(Command.READ, disk.size, 512, errnos=(errno.EINVAL,))
    assert basis_of(caught.value, ()) == ("SHOULD: NBD, Error values",)


def test_without_advertised_sizes_requests_keep_to_the_defaults(
    session: TargetSession, disk: Disk
) -> None:
    with connect(session, disk) as io:
        io.client.block_sizes = None
        bare = NbdIo(io.client, disk.shadow)
        assert bare.block_sizes == (1, 4096, 32 << 20)
        assert bare.longest_sure == io.client.longest == 32 << 20
