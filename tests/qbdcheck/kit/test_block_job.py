"""A block job that meets errors: its end, and its stops."""

from __future__ import annotations

from errno import EIO
from pathlib import Path

import pytest

from qbdcheck.errors import ProgramError
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.block_job import JobEnd, finish_job
from qbdcheck.programs.blockdev import file_node
from qbdcheck.programs.installed import Programs
from qbdcheck.programs.storage_daemon import StorageDaemon


def mirror(directory: Path, policy: str, *, once: bool, most_stops: int = 5) -> JobEnd:
    """Mirror a file onto another whose sector 8 cannot be written."""
    for name in ("source", "copy"):
        (directory / name).write_bytes(name[:1].encode() * (64 << 10))
    rule = error("none", EIO, iotype="write", sector=8, once=once)
    with StorageDaemon(Programs(), directory) as qsd:
        qsd.add(file_node(directory / "source", "source"))
        qsd.add(blkdebug(file_node(directory / "copy"), rule, node_name="copy"))
        qsd.qmp("blockdev-mirror", job_id="job", device="source", target="copy", sync="full",
                on_target_error=policy, auto_dismiss=False)  # fmt: skip
        end = finish_job(qsd, most_stops=most_stops)
        assert qsd.qmp("query-jobs") == []
    return end


def test_a_stop_is_resumed_and_counted(tmp_path: Path) -> None:
    assert mirror(tmp_path, "stop", once=True) == JobEnd("", ["failed"], [("write", "stop")])
    assert (tmp_path / "copy").read_bytes() == b"s" * (64 << 10)


def test_a_reported_error_ends_the_job(tmp_path: Path) -> None:
    end = mirror(tmp_path, "report", once=True)
    assert end == JobEnd("Input/output error", [], [("write", "report")])


def test_a_job_that_stops_too_often_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match="stops more than 3 times"):
        mirror(tmp_path, "stop", once=False, most_stops=3)
