"""The hostile server: right except for its lie, as QEMU's client sees it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from qbdcheck.errors import ProgramError
from qbdcheck.kit.hostile_messages import done_chunk
from qbdcheck.kit.hostile_server import FILL, HONEST, SIZE, HostileServer, Lie
from qbdcheck.programs.installed import Programs
from qbdcheck.programs.nbd_opener import NbdOpener
from reference_backend.client import Client
from reference_backend.nbd.errors import NbdProtocolError
from reference_backend.nbd.messages import U32, U64


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[HostileServer]:
    server = HostileServer(tmp_path, NbdOpener(Programs({}), tmp_path, timeout_s=2.0))
    yield server
    server.close()


@pytest.mark.parametrize("structured", [True, False])
def test_without_a_lie_a_strict_client_works(hostile: HostileServer, structured: bool) -> None:
    hostile.tell(Lie(structured=structured))
    client = Client.connect(f"nbd+unix:///volume?socket={hostile.path}", structured=structured)
    assert client.size == SIZE
    client.write(4096, b"w" * 512)
    assert bytes(client.read(4096, 1024)) == b"w" * 512 + bytes([FILL]) * 512
    client.write_zeroes(4096, 512)
    assert bytes(client.read(4096, 512)) == bytes(512)
    client.flush()
    client.close()


def test_a_lie_of_a_field(hostile: HostileServer) -> None:
    hostile.tell(Lie({"chunk.cookie": U64.pack(12345)}))
    client = Client.connect(f"nbd+unix:///volume?socket={hostile.path}")
    with pytest.raises(NbdProtocolError):
        client.read(0, 512)
    client.close()


def test_lies_end_after_their_connections(hostile: HostileServer) -> None:
    lie = Lie({"greeting.magic": b"nonsense"}, connections=1)
    assert hostile.sees(lie) == "refused"
    hostile.tell(Lie({"greeting.magic": b"nonsense"}, connections=1))
    opener = NbdOpener(Programs({}), hostile.path.parent)
    assert opener.sees(hostile.path) == "refused"
    assert opener.sees(hostile.path, hostile.READ) == "ok"
    opener.close()


def test_wrong_data_is_reported(hostile: HostileServer) -> None:
    lie = Lie({"chunk.data": bytes(4096)})
    assert hostile.sees(lie, hostile.READ, "write 0 512") == "wrong data; ok"


def test_a_reason_is_kept(hostile: HostileServer, tmp_path: Path) -> None:
    opener = NbdOpener(Programs({}), tmp_path)
    hostile.tell(Lie({"greeting.magic": b"nonsense"}))
    assert opener.sees(hostile.path) == "refused"
    assert opener.reason.startswith("Bad initial magic received")
    opener.close()


def test_a_hang_is_an_error_and_the_next_opening_works(hostile: HostileServer) -> None:
    with pytest.raises(ProgramError, match="did not answer within 2 s"):
        hostile.sees(Lie(answer=lambda _request: []), hostile.READ)
    assert hostile.sees(HONEST, hostile.READ) == "ok"


def test_failed_requests_in_flight_all_end(hostile: HostileServer) -> None:
    """Reads that fail in flight count as completed, whichever command's output reports them."""
    commands = [f"aio_read {number << 12} 4096" for number in range(8)]
    commands += [f"aio_write {number << 12} 4096" for number in range(8)]
    lie = Lie({"simple.errno": U32.pack(28), "simple.data": b""}, structured=False)
    ends = hostile.in_flight(lie, commands)
    assert [end.error for end in ends] == ["No space left on device"] * 16


def test_cuts_are_within_and_around_all_fields(hostile: HostileServer) -> None:
    cuts = hostile.cuts(hostile.READ)
    assert ("greeting.flags", 0) in cuts
    assert ("greeting.flags", 2) in cuts
    assert ("chunk.data", 4095) in cuts
    assert ("chunk.data", 4096) in cuts
    assert len(cuts) == len(set(cuts))


def test_other_replies_to_a_request(hostile: HostileServer) -> None:
    lie = Lie(answer=lambda request: [done_chunk(request)])
    assert hostile.sees(lie, "write 0 512", "alloc 0 512") == "ok; Input/output error"
