"""The interface for writers of cases.

A case imports from here, from `oracles` and from the standard library, and gets the rest from
fixtures (docs/case-writer.md). General names are in this module; the others are in the modules that
`MODULES` lists. docs/kit.md shows all of them and is generated from the docstrings.
`tests/test_tidy.py` refuses a case that imports from anywhere else.

General names are loaded on first use, so that a case pays only for what it imports.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from qbdcheck.catalogue.case import case
from qbdcheck.errors import CaseBroken, NotRun, ProgramError, SetupError

if TYPE_CHECKING:
    from qbdcheck.clock import now_s, pause
    from qbdcheck.machine_speed import Limit, work_s
    from qbdcheck.programs.qemu_io import IoFailed
    from qbdcheck.programs.qemu_io_output import parse_reports
    from qbdcheck.programs.qmp import QmpFailed
    from qbdcheck.targets.certificates import Authority
    from qbdcheck.targets.disk_io import judge

__all__ = [
    "Authority",
    "CaseBroken",
    "IoFailed",
    "Limit",
    "NotRun",
    "ProgramError",
    "QmpFailed",
    "SetupError",
    "case",
    "judge",
    "now_s",
    "parse_reports",
    "pause",
    "work_s",
]

MODULES = (
    "ata_disk",
    "blkdebug",
    "block_contents",
    "block_job",
    "block_status",
    "blockdev",
    "bursts",
    "cluster.clients",
    "cluster.hunt",
    "cluster.processes",
    "cluster.schedule",
    "cluster.simulation",
    "covering.themes",
    "crash.bounded_workloads",
    "crash.dm_log",
    "crash.ext4_image",
    "crash.ext4_judge",
    "crash.file_sequence_runs",
    "crash.file_workload",
    "crash.image_row",
    "crash.kill_cycles",
    "crash.qcow2_judge",
    "crash.recorder",
    "crash.sqlite_disk",
    "crash.wal_store",
    "crash.xfs_judge",
    "data_file",
    "errno_matrix",
    "error_policies",
    "expectations",
    "fault_schedule",
    "faulted_requests",
    "faulty_image",
    "footprint",
    "guest_tools",
    "hostile_messages",
    "hostile_server",
    "idle",
    "image_on_volume",
    "libiscsi",
    "libvirt.daemon",
    "libvirt.domain",
    "libvirt.guest",
    "libvirt.native",
    "libvirt.qbd",
    "libvirt.schema",
    "libvirt.xml",
    "luks",
    "mixed.mixture",
    "model.concurrent",
    "model.machine",
    "model.replay",
    "nbd",
    "nbd_io",
    "nbd_link",
    "nbd_probe",
    "nbd_requests",
    "netns_host",
    "page_cache",
    "paused_backend",
    "planted_secret",
    "power_cuts",
    "quorum",
    "reference",
    "related_requests",
    "request_cost",
    "request_errors",
    "server_ends",
    "small_space",
    "virtio_blk",
    "virtio_reads",
    "volume_limits",
)
"""The modules of this package that cases may import."""

_LOADED_ON_USE = {
    "Authority": "qbdcheck.targets.certificates",
    "IoFailed": "qbdcheck.programs.qemu_io",
    "QmpFailed": "qbdcheck.programs.qmp",
    "judge": "qbdcheck.targets.disk_io",
    "Limit": "qbdcheck.machine_speed",
    "now_s": "qbdcheck.clock",
    "parse_reports": "qbdcheck.programs.qemu_io_output",
    "pause": "qbdcheck.clock",
    "work_s": "qbdcheck.machine_speed",
}


def __getattr__(name: str) -> object:
    if name not in _LOADED_ON_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LOADED_ON_USE[name]), name)
