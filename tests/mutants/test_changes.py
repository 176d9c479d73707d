"""Each mutant of changes.py by its effect, and some mutants of other groups."""

from __future__ import annotations

import contextlib
import threading

import pytest

from blockio.layers import Command, CommandFlag
from reference_backend.client import Client
from reference_backend.nbd.constants import Option, TransmissionFlag
from reference_backend.nbd.errors import NbdError, NbdProtocolError, OptionRefused
from tests.mutants.conftest import Serve, control, cut
from tests.reference_backend.cli_server import ServerProcess

BLOCK, UNIT, MIB = 4096, 65536, 1 << 20


def test_resizes_and_snapshots(serve: Serve) -> None:
    with serve("resize-false-success") as server:
        control(server, "volume-resize", name="v", size=MIB)
        with server.connect("v") as nbd:
            assert nbd.size == 4 * MIB
    with serve("late-request-after-quiesce") as server, server.connect("v") as nbd:
        lost = False
        for number in range(20):
            control(server, "volume-snapshot", name="v", snapshot=f"s{number}")
            nbd.write(number * 512, b"x" * 512)
            lost = lost or bytes(nbd.read(number * 512, 1)) != b"x"
        assert lost
    with serve("reopen-different-placement") as server, server.connect("v") as old:
        old.read(0, 1)
        control(server, "volume-resize", name="v", size=8 * MIB)
        old.write(0, b"x" * BLOCK)
        assert bytes(old.read(0, BLOCK)) == b"x" * BLOCK
        with server.connect("v") as new:
            assert bytes(new.read(0, BLOCK)) == bytes(BLOCK)
    with serve("discard-exposes-backing") as server, server.connect("v") as nbd:
        nbd.write(0, b"o" * BLOCK)
        control(server, "volume-snapshot", name="v", snapshot="s")
        nbd.write(0, b"n" * BLOCK)
        nbd.trim(0, BLOCK)
        assert bytes(nbd.read(0, BLOCK)) == b"o" * BLOCK


def test_a_write_that_waits_while_the_volume_shrinks(serve: Serve) -> None:
    with serve("geometry-change-stale-buffer") as server, server.connect("v") as nbd:
        found = False
        for _ in range(20):
            for number in range(100):
                nbd.send_request(Command.WRITE, 2 * MIB, BLOCK, payload=bytes([number + 1]) * BLOCK)
            control(server, "volume-resize", name="v", size=MIB)
            for _ in range(100):
                nbd.receive_reply()
            control(server, "volume-resize", name="v", size=4 * MIB)
            found = found or any(nbd.read(2 * MIB, BLOCK))
        assert found


@pytest.mark.parametrize("mutant", ["discard-not-tracked", "incremental-misses-hole"])
def test_dirty_tracking(serve: Serve, mutant: str) -> None:
    with serve(mutant) as server:
        with server.connect("v") as nbd:
            nbd.write(0, b"x" * MIB)
        control(server, "volume-snapshot", name="v", snapshot="s")
        with Client.connect(str(server.socket), "v", contexts=["qbd:dirty"]) as nbd:
            nbd.trim(0, MIB)
            extents = nbd.block_status(0, MIB)["qbd:dirty"]
        assert not any(extent.flags & 1 for extent in extents)


def test_sector_unit_mismatch(serve: Serve) -> None:
    arguments = "--min-block", "4096"
    with serve("sector-unit-mismatch", *arguments) as server, server.connect("v") as nbd:
        nbd.trim(0, BLOCK)
        with pytest.raises(NbdError):
            nbd.trim(3 * MIB, BLOCK)


def test_status(serve: Serve) -> None:
    with serve("status-unaligned-eof") as server, server.connect("v") as nbd:
        assert nbd.block_status(0, MIB)["base:allocation"][0].length == 100
    with serve("extents-blowup") as server, server.connect("v") as nbd:
        assert len(nbd.block_status(0, MIB)["base:allocation"]) == MIB // 512


def test_errors(serve: Serve) -> None:
    def armed(server: ServerProcess, event: str, iotype: str) -> None:
        control(server, "rule-add", event=event, iotype=iotype, errno="EIO", once=True)

    with serve("flush-error-swallowed") as server, server.connect("v") as nbd:
        armed(server, "flush_to_disk", "flush")
        nbd.flush()
    with serve("missing-object-zero-fill") as server, server.connect("v") as nbd:
        nbd.write(0, b"x" * 512)
        armed(server, "read_aio", "read")
        assert bytes(nbd.read(0, 512)) == bytes(512)
    with serve("flush-error-once") as server:
        lost = 0
        for seed in range(8):
            with server.connect("v") as nbd:
                nbd.write(0, b"o" * 512, CommandFlag.FUA)
                nbd.write(0, b"n" * 512)
                armed(server, "flush_to_disk", "flush")
                with pytest.raises(NbdError):
                    nbd.flush()
                nbd.flush()
                cut(server, seed)
            with server.connect("v") as nbd:
                lost += bytes(nbd.read(0, 1)) == b"o"
        assert lost


def test_sizes_and_ranges(serve: Serve) -> None:
    with serve("offset-len-overflow") as server, server.connect("v") as nbd:
        nbd.write((1 << 64) - 512, bytes(1024))
    with serve("negative-size") as server:
        try:
            with server.connect("v") as nbd:
                assert nbd.size > 1 << 62
        except (NbdProtocolError, ValueError, OSError):
            pass  # our client refuses it


def test_names_and_options(serve: Serve) -> None:
    with serve("acl-prefix-match") as server, server.connect("vol") as nbd:
        assert nbd.size == 4 * MIB
    with serve("capability-bit-collision") as server, server.connect("v") as nbd:
        assert nbd.flags & TransmissionFlag.SEND_RESIZE
    with serve("huge-option-read") as server:
        nbd = Client.open_socket(str(server.socket))
        with pytest.raises((OSError, EOFError, NbdProtocolError, OptionRefused)):
            nbd.option(Option.INFO, b"x" * (1 << 20))
            nbd.option(Option.INFO, b"x")
        nbd.sock.close()


def test_format_probe_escape(serve: Serve) -> None:
    with serve("format-probe-escape") as server:
        with server.connect("v") as nbd:
            nbd.write(0, b"QFI\xfb" + b"x" * 508)
        with server.connect("v") as nbd:
            assert bytes(nbd.read(0, 512)) == bytes(512)


def together(server: ServerProcess, writes: list[tuple[int, bytes]], limit_s: float) -> bool:
    """Write all at the same time, by connections of their own; say whether all were answered."""
    clients = [Client.connect(str(server.socket), "v") for _ in writes]

    def write(client: Client, offset: int, data: bytes) -> None:
        with contextlib.suppress(OSError, EOFError):  # it is cut off below where it is stuck
            client.write(offset, data)

    threads = [
        threading.Thread(target=write, args=(client, *one), daemon=True)
        for client, one in zip(clients, writes, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(limit_s)
    all_answered = not any(thread.is_alive() for thread in threads)
    for client, thread in zip(clients, threads, strict=True):
        with contextlib.suppress(OSError):
            client.sock.shutdown(2)
        thread.join()
        client.sock.close()
    return all_answered


def test_races(serve: Serve) -> None:
    with serve("thin-alloc-toctou") as server:
        lost = 0
        for unit in range(8):
            writes = [(unit * UNIT + n * 512, bytes([n + 1]) * 512) for n in range(4)]
            assert together(server, writes, 20)
            with server.connect("v") as nbd:
                data = bytes(nbd.read(unit * UNIT, 2048))
                lost += any(data[n * 512] != n + 1 for n in range(4))
        assert lost
    for mutant, length in (("overlap-deadlock", 2 * BLOCK), ("split-pool-deadlock", 2 * UNIT)):
        with serve(mutant) as server:
            stuck = False
            for _ in range(30):
                writes = [(0, bytes(length))] * 2
                stuck = stuck or not together(server, writes, 2)
                if stuck:
                    break
            assert stuck, mutant
            server.process.kill()
