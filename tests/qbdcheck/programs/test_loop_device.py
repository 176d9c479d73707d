"""The server of a loop device: the layout of its request, and a device that ends with it."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from qbdcheck.clock import pause
from qbdcheck.machine_speed import Limit
from qbdcheck.programs import loop_device
from qbdcheck.programs.loop_device import AUTOCLEAR, loop_config

CAN_LOOP = os.geteuid() == 0 and Path("/dev/loop-control").exists()


def test_the_request_has_the_layout_of_the_kernel() -> None:
    config = loop_config(7, 4096)
    assert len(config) == 304
    assert struct.unpack_from("=II", config) == (7, 4096)
    assert struct.unpack_from("=I", config, 60) == (AUTOCLEAR,)
    assert sum(config[64:]) == 0


@pytest.mark.skipif(not CAN_LOOP, reason="needs root and /dev/loop-control")
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_the_device_is_detached_when_its_server_ends(tmp_path: Path, end: signal.Signals) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_bytes(bytes(1 << 20))
    argv = [sys.executable, "-S", loop_device.__file__, str(file), str(link), "4096"]
    with subprocess.Popen(argv) as server:
        wait_for(link.is_symlink)
        state = Path("/sys/block") / link.resolve().name
        assert (state / "queue/logical_block_size").read_text() == "4096\n"
        assert Path((state / "loop/backing_file").read_text().strip()) == file
        server.send_signal(end)
        server.wait()
    assert link.is_symlink() == (end is signal.SIGKILL)
    wait_for(lambda: not backed_by(state, file))


def backed_by(state: Path, file: Path) -> bool:
    """Return whether a device is attached to `file`. Another program may have the device by now."""
    try:
        return (state / "loop/backing_file").read_text().strip() == str(file)
    except OSError:
        return False


def wait_for(condition: object) -> None:
    """Wait until a condition holds, for at most 10 s."""
    assert callable(condition)
    limit = Limit(10)
    while not condition():
        assert not limit.is_over
        pause(0.01)
