"""Each mutant of the group exports mixes exports of one server, or loses a size."""

from __future__ import annotations

from reference_backend.client import Client
from tests.mutants.conftest import Serve, control, cut

BASE = "base:allocation"
X = b"x" * 4096


def test_a_context_is_valid_for_another_export(serve: Serve) -> None:
    with serve("context-kept-for-other-export") as server:
        control(server, "volume-create", name="w", size=4096)
        with Client.open_socket(str(server.socket)) as client:
            client.opt_structured_reply()
            client.opt_set_meta_context("v", [BASE])
            client.opt_go("w")
            assert client.block_status(0, 4096)[BASE]


def test_a_flush_is_for_the_first_export(serve: Serve) -> None:
    lost = {"v": 0, "w": 0}
    for seed in range(4):
        with serve("flush-first-export-only") as server:
            control(server, "volume-create", name="w", size=1 << 20)
            for name in ("v", "w"):
                with server.connect(name) as nbd:
                    for at in range(0, 65536, 4096):
                        nbd.write(at, X)
                    nbd.flush()
            cut(server, seed)
            for name in ("v", "w"):
                with server.connect(name) as nbd:
                    lost[name] += bytes(nbd.read(0, 65536)) != X * 16
    assert lost["v"] == 0
    assert lost["w"] > 0


def test_a_power_cut_undoes_a_growth(serve: Serve) -> None:
    with serve("growth-lost-in-cut") as server:
        control(server, "volume-resize", name="v", size=5 << 20)
        with server.connect("v") as nbd:
            assert nbd.size == 5 << 20
            nbd.flush()
        cut(server, 1)
        with server.connect("v") as nbd:
            assert nbd.size == 4 << 20


def test_the_status_behind_a_growth_is_zero(serve: Serve) -> None:
    with serve("status-behind-growth") as server:
        control(server, "volume-resize", name="v", size=5 << 20)
        with server.connect("v") as nbd:
            nbd.write((4 << 20) - 4096, X * 2)
            first, second, *_ = nbd.block_status((4 << 20) - 4096, 8192)[BASE]
            assert (first.length, first.flags, second.flags) == (4096, 0, 3)
