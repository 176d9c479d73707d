"""Nodes as processes: what a case does to them is seen to happen, and a mistake is one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from qbdcheck.clock import pause
from qbdcheck.errors import NotRun, SetupError
from qbdcheck.kit.cluster.processes import ClusterProcesses
from qbdcheck.targets.description import Description

SERVE = """\
import pathlib, socket, sys, time
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()
print("leads epoch", sys.argv[2], flush=True)
while True: time.sleep(60)
"""


def description(directory: Path, **more: object) -> Description:
    """Return the profile of two nodes that do nothing, with a child process each."""
    code = directory / "node.py"
    code.write_text(SERVE)
    nodes = [
        {
            "name": name,
            "start": f"sh -c 'sleep 1000 & {{python}} {code} {{dir}}/{name}.sock {number}'",
            "nbd": f"nbd+unix:///?socket={{dir}}/{name}.sock",
            "store": f"{{dir}}/store-{name}",
            "address": f"{{dir}}/{name}.sock",
            "leads": "leads epoch",
            **({"replica": f"cat {{dir}}/store-{name}"} if "replica" in more else {}),
        }
        for number, name in enumerate("ab", 1)
    ]
    more.pop("replica", None)
    return Description.model_validate(
        {"name": "toy", "about": "toy", "blockdev": {"driver": "nbd"}, "nodes": nodes, **more}
    )


def states(cluster: ClusterProcesses, tmp_path: Path) -> set[str]:
    """Return the states of all processes whose command line names the directory."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(tmp_path).encode() in (process / "cmdline").read_bytes():
                found.add((process / "stat").read_text().rpartition(")")[2].split()[0])
        except OSError:
            continue
    return found


def test_the_node_that_printed_the_highest_epoch_leads(tmp_path: Path) -> None:
    with ClusterProcesses(description(tmp_path), tmp_path, 1 << 20) as cluster:
        assert cluster.leader() == "b"
        cluster.kill("b")
        assert cluster.leader() == "a"
        assert cluster.happened == ["node b was killed"]


def test_the_command_of_the_profile_names_the_leader(tmp_path: Path) -> None:
    profile = description(tmp_path, leader="echo a")
    with ClusterProcesses(profile, tmp_path, 1 << 20) as cluster:
        assert cluster.leader() == "a"


def test_a_pause_stops_all_processes_of_a_node(tmp_path: Path) -> None:
    with ClusterProcesses(description(tmp_path), tmp_path, 1 << 20) as cluster:
        cluster.kill("b")
        cluster.pause("a")
        assert states(cluster, tmp_path) == {"T"}
        cluster.resume("a")
        while "T" in states(cluster, tmp_path):
            pause(0.01)
    assert not states(cluster, tmp_path)


def test_a_fault_that_met_nothing_did_not_happen(tmp_path: Path) -> None:
    with (
        ClusterProcesses(description(tmp_path), tmp_path, 1 << 20) as cluster,
        pytest.raises(AssertionError, match="no message met a link with a fault"),
    ):
        cluster.cut_off("a")
        cluster.heal()


def test_only_a_store_of_a_dead_node_is_lost(tmp_path: Path) -> None:
    with ClusterProcesses(description(tmp_path), tmp_path, 1 << 20) as cluster:
        with pytest.raises(AssertionError, match="node a runs"):
            cluster.lose_store("a")
        cluster.kill("a")
        with pytest.raises(AssertionError, match="node a has no store"):
            cluster.lose_store("a")
        (tmp_path / "store-a").mkdir()
        (tmp_path / "store-a" / "data").write_text("x")
        cluster.lose_store("a")
        assert not (tmp_path / "store-a").exists()
        assert cluster.happened[-1] == "node a lost its store"


def test_replicas_are_compared_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "store-a").write_text("1\n2\n3\n")
    (tmp_path / "store-b").write_text("1\n4\n")
    profile = description(tmp_path, replica=True)
    with ClusterProcesses(profile, tmp_path, 1 << 20) as cluster:
        (found,) = cluster.compare_replicas()
        assert "nodes a and b differ in 2 lines of their dumps, first in line 2" in str(found)
        (tmp_path / "store-b").write_text("1\n2\n3\n")
        cluster.start("a")
        cluster.start("b")
        assert not cluster.compare_replicas()
    with (
        ClusterProcesses(description(tmp_path), tmp_path, 1 << 20) as cluster,
        pytest.raises(NotRun, match="have no key replica:"),
    ):
        cluster.compare_replicas()


def test_a_cluster_that_does_not_settle_says_what_its_command_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qbdcheck.kit.cluster.processes._SETTLED_S", 0.1)
    profile = description(tmp_path, settled="sh -c 'echo two of three; exit 1'", failover="100 ms")
    with (
        pytest.raises(AssertionError, match=r"the nodes do not agree again in .* two of three"),
        ClusterProcesses(profile, tmp_path, 1 << 20),
    ):
        pass


def test_a_node_that_ends_is_named_with_its_output(tmp_path: Path) -> None:
    profile = description(tmp_path)
    node = profile.nodes[0].model_copy(update={"start": "sh -c 'echo no disk >&2; exit 3'"})
    profile = profile.model_copy(update={"nodes": [node, profile.nodes[1]]})
    with (
        pytest.raises(SetupError, match="node a is not ready: sh exited with 3: no disk"),
        ClusterProcesses(profile, tmp_path, 1 << 20),
    ):
        pass
