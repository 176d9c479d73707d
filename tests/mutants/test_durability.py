"""Each mutant of the group loses data in a power cut that a right backend keeps."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from blockio.layers import CommandFlag
from mutants.catalogue import catalogue, layer_argument
from qbdcheck.files import ROOT
from reference_backend.client import Client
from tests.mutants.conftest import Serve, Server, cut
from tests.reference_backend.cli_server import ServerProcess

FUA = CommandFlag.FUA
MIB = 1 << 20


def flushed_write(nbd: Client) -> None:
    nbd.write(MIB, b"x" * 4096)
    nbd.flush()


def fua_write(nbd: Client) -> None:
    nbd.write(MIB, b"x" * 4096, FUA)


def is_lost(server: ServerProcess, change: Callable[[Client], None], expected: bytes) -> bool:
    """Return whether a power cut loses what ``change`` made durable."""
    for seed in range(12):
        with server.connect("v") as nbd:
            nbd.write(MIB, b"old!" * 1024, FUA)
            nbd.write(0, b"y" * 512)
            nbd.flush()
            change(nbd)
            cut(server, seed)
        with server.connect("v") as nbd:
            if bytes(nbd.read(MIB, 4096)) != expected:
                return True
    return False


def fua_zero(nbd: Client) -> None:
    nbd.write_zeroes(MIB, 4096, FUA)


def flushed_zero(nbd: Client) -> None:
    nbd.write_zeroes(MIB, 4096)
    nbd.flush()


@pytest.mark.parametrize(
    ("mutant", "change", "expected"),
    [
        ("flush-noop", flushed_write, b"x" * 4096),
        ("fua-write-ack-early", fua_write, b"x" * 4096),
        ("fua-lost-on-trim", fua_zero, bytes(4096)),
        ("flush-one-child-only", flushed_write, b"x" * 4096),
        ("zero-unmap-not-durable", flushed_zero, bytes(4096)),
    ],
)
def test_a_power_cut_loses_durable_data(
    serve: Serve, mutant: str, change: Callable[[Client], None], expected: bytes
) -> None:
    with serve(mutant) as server:
        assert is_lost(server, change, expected)
    with serve("control-plain") as server:
        assert not is_lost(server, change, expected)


def test_a_discard_with_fua_ends_the_connection(serve: Serve) -> None:
    with serve("fua-on-trim-hangs-up") as server, server.connect("v") as nbd:
        nbd.trim(0, 4096)
        with pytest.raises((OSError, EOFError)):
            nbd.trim(0, 4096, FUA)


def test_data_is_lost_when_its_client_leaves_without_a_flush(serve: Serve) -> None:
    with serve("close-drops-dirty") as server:
        with server.connect("v") as nbd:
            nbd.write(0, b"a" * 512)
            nbd.flush()
            nbd.write(0, b"b" * 512)
            assert bytes(nbd.read(0, 512)) == b"b" * 512
        for _ in range(200):
            with server.connect("v") as nbd:
                if bytes(nbd.read(0, 512)) == b"a" * 512:
                    return
        pytest.fail("nothing was taken back")


def test_a_bug_damages_the_file_store_too(tmp_path: Path) -> None:
    pool = tmp_path / "pool"
    pool.mkdir(mode=0o700)
    create = [sys.executable, "-m", "reference_backend", "create", "--pool", str(pool), "v", "4M"]
    subprocess.run(create, check=True, cwd=ROOT)
    layer = layer_argument(catalogue()["flush-noop"])
    with Server("--pool", str(pool), "--layer", layer) as server:
        assert is_lost(server, flushed_write, b"x" * 4096)
