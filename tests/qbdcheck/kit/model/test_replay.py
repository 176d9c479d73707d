"""``./check replay`` on the command line, and the exhaustive tries in process."""

import subprocess
import sys
from pathlib import Path

import pytest

from mutants.catalogue import catalogue
from qbdcheck.files import ROOT
from qbdcheck.kit.model.exhaustive import operations, try_all
from qbdcheck.kit.model.players import InProcess

SCRIPT = """qbdcheck script: 1
size: 8192
steps:
  - {do: write, offset: 0, length: 4096}
  - {do: flush}
  - {do: power-cut, seed: 1}
"""


def replay(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "qbdcheck", "replay", *arguments]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)


def test_a_script_is_played_step_by_step(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(SCRIPT)
    done = replay(str(path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1:] == [
        "   2  flush", "   3  power-cut 1", "      read everything",
        "right: 3 steps on reference",
    ]  # fmt: skip


CONNECTIONS = """qbdcheck script: 1
size: 65536
prefill: false
steps:
  - {do: write, offset: 0, length: 4096, connection: 2}
  - {do: read, offset: 0, length: 4096}
  - {do: write, offset: 8192, length: 512, fill: 90}
  - {do: reopen, connection: 2}
  - {do: wait, ms: 5}
  - {do: restart}
  - {do: read, offset: 0, length: 16384, connection: 3}
"""


def test_a_script_has_several_connections_and_restarts(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(CONNECTIONS)
    done = replay(str(path), "-t", "reference-file")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "write 0+4096 on connection 2" in done.stdout
    path.write_text(CONNECTIONS.replace("  - {do: restart}\n", ""))
    other = replay(str(path), "-t", "mutant:multi-conn-incoherent")
    assert other.returncode == 1, other.stdout + other.stderr
    assert "wrong: step 2: read 0+4096" in other.stdout


def test_a_wrong_target_is_exit_1(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(SCRIPT)
    done = replay(str(path), "-t", "mutant:flush-noop")
    assert done.returncode == 1
    assert "wrong at at the end" not in done.stdout
    assert "never written: prefill still there" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "usage: ./check replay FILE"),
        (("/nonexistent",), "No such file"),
        (("{path}", "-t", "file"), "cannot flush"),
    ],
)
def test_what_cannot_be_played_is_exit_2(
    tmp_path: Path, arguments: tuple[str, ...], text: str
) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(SCRIPT)
    done = replay(*(word.format(path=path) for word in arguments))
    assert done.returncode == 2
    assert text in done.stderr or "power-cut" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_all_sequences_are_counted_and_right() -> None:
    player = InProcess()
    tried = try_all(player, 2, 1)
    count = len(operations(player.abilities))
    assert tried.sequences == count + count * count - 1  # without two flushes in a row
    assert tried.scripts == 2 * tried.sequences
    assert tried.wrong is None
    assert tried.left_out == ("kill", "reconnect", "reopen")


@pytest.mark.parametrize("bug", ["flush-noop", "fua-write-ack-early", "zero-unmap-not-durable"])
def test_deterministic_bugs_are_found_by_two_operations(bug: str) -> None:
    tried = try_all(InProcess(catalogue()[bug]), 2, 1)
    assert tried.wrong is not None
    assert len(tried.wrong[0].steps) <= 3
