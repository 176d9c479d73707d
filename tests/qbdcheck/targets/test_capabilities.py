"""The capabilities of a target that only QEMU's driver reaches: a mistake is not a lack."""

from __future__ import annotations

from pathlib import Path

from qbdcheck.options import TargetOptions
from qbdcheck.targets import description as descriptions
from qbdcheck.targets.capabilities import capabilities

PROFILE = """\
name: lossy
about: a driver of QEMU that loses all writes
volume: {create: "true"}
blockdev: BLOCKDEV
"""
NULL = '{driver: null-co, size: "{size}", read-zeroes: true}'
NO_STATUS = """\
name: plain
about: a server without block status, reached by QEMU alone
environment: {PYTHONPATH: "{root}"}
start: "{python} -S -m reference_backend serve --memory {size} --socket {socket} --no-block-status"
ready: {socket: "{socket}", within: 10 s}
blockdev: {driver: nbd, server: {type: unix, path: "{socket}"}}
volatile: true
"""


def found(scratch: Path, profile: str) -> frozenset[str]:
    """Return the capabilities of a profile."""
    file = scratch / "profile.yaml"
    file.write_text(profile)
    return capabilities(descriptions.load(file), TargetOptions(), scratch)


def test_a_driver_that_calls_written_data_zero_has_block_status(scratch: Path) -> None:
    assert "block_status" in found(scratch, PROFILE.replace("BLOCKDEV", NULL))


def test_a_driver_that_reports_only_data_has_no_block_status(scratch: Path) -> None:
    seen = found(scratch, NO_STATUS)
    assert "block_status" not in seen
    assert {"write_zeroes", "discard", "flush"} <= seen


def test_a_request_that_fails_is_a_mistake_of_the_driver_and_no_lack(scratch: Path) -> None:
    rule = "{event: pwritev, iotype: write-zeroes, errno: 5}"
    node = f"{{driver: blkdebug, inject-error: [{rule}], image: {NULL}}}"
    assert "write_zeroes" in found(scratch, PROFILE.replace("BLOCKDEV", node))
