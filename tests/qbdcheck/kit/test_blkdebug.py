"""Options for QEMU's blkdebug: their form, and their effect in QEMU."""

from __future__ import annotations

from errno import EIO, ENOSPC
from pathlib import Path

import pytest

from qbdcheck.kit.blkdebug import (
    blkdebug,
    errno_of,
    errno_of_failure,
    error,
    fail_nth,
    start_and_hold,
    state_change,
)
from qbdcheck.programs.blockdev import file_node, json_filename, over
from qbdcheck.programs.installed import Programs
from qbdcheck.programs.qemu_io import IoFailed, QemuIo


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    path.write_bytes(bytes(1 << 20))
    return path


def opened(node: dict[str, object], directory: Path) -> QemuIo:
    argv = Programs().argv("qemu-io", "-t", "writeback", json_filename(node))
    return QemuIo(argv, directory)


def test_rules_states_and_limits_are_written_as_qemu_takes_them() -> None:
    rule = error("pwritev", ENOSPC, sector=5, once=True)
    made = blkdebug(
        "node", rule, states=[state_change("none", 1, 2)], node_name="n", max_transfer=512
    )
    assert made == {
        "driver": "blkdebug",
        "node-name": "n",
        "image": "node",
        "max-transfer": 512,
        "inject-error": [{"event": "pwritev", "errno": 28, "sector": 5, "once": True}],
        "set-state": [{"event": "none", "state": 1, "new_state": 2}],
    }


@pytest.mark.parametrize("count", [1, 3])
def test_nth_fails_the_nth_request_only(image: Path, tmp_path: Path, count: int) -> None:
    faults = fail_nth("write_aio", count, ENOSPC, iotype="write", once=True)
    node = over("raw", {**blkdebug(file_node(image)), **faults})
    with opened(node, tmp_path) as io:
        seen = [errno_of(io, f"write {number * 4096} 512") for number in range(5)]
    assert seen == [ENOSPC if number == count - 1 else 0 for number in range(5)]


def test_a_failure_without_an_errno_is_raised() -> None:
    failed = IoFailed("write: nonsense", ["qemu-io"], None)
    failed.reason = "nonsense"
    with pytest.raises(IoFailed):
        errno_of_failure(failed)
    failed.reason = "Input/output error"
    assert errno_of_failure(failed) == EIO


def test_a_held_request_waits_for_its_release(image: Path, tmp_path: Path) -> None:
    with opened(blkdebug(file_node(image)), tmp_path) as io:
        start_and_hold(io, "pwritev", "tag", "aio_write -P 7 0 4096")
        assert image.read_bytes()[:4096] == bytes(4096)
        io("resume tag")
        io("aio_flush")
    assert image.read_bytes()[:4096] == b"\7" * 4096
