"""The values of ``requires`` and ``formats``, and sentences on those that are missing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

CAPABILITIES: Mapping[str, str] = {
    "flush": "makes data durable on request",
    "fua": "makes a single write durable",
    "discard": "accepts discard requests",
    "write_zeroes": "accepts write-zeroes requests",
    "fast_zero": "refuses slow write-zeroes on request",
    "cache": "accepts cache requests",
    "df": "accepts reads that must not be fragmented",
    "structured": "speaks structured replies",
    "block_status": "reports block status",
    "multi_conn": "covers the writes of all connections by a flush on one",
    "resize": "resizes volumes",
    "snapshot": "takes snapshots of volumes",
    "snapshot_read": "exports its snapshots read-only",
    "snapshot_remove": "removes snapshots",
    "clone": "makes writable clones of snapshots",
    "add_volume": "exports further volumes on the same server",
    "volume_remove": "removes clones and further volumes while it runs",
    "kill": "can be killed and started again",
    "crash": "can lose unflushed data on command",
    "sudden_end": "can be cut off from power, or killed and started again",
    "control": "has a control socket",
    "nbd": "accepts a raw NBD client",
    "raw_requests": "takes requests of a raw client, by NBD or through an export of its driver",
    "raw_size": "makes volumes of any size in bytes",
    "min_block": "can be started with a minimum block size",
    "read_only": "can be started read-only",
    "tls": "can be started with TLS required",
    "write_log": "can log the writes of a volume (dm-log-writes format)",
    "request_log": "can log the writes that clients request, also those that it damages",
    "aio_native": "can be opened with aio=native",
    "own_driver": "has a QEMU driver of its own",
    "refuses_writes": "serves volumes that no client can write",
    "volume_per_connection": "gives each connection a volume of its own",
    "vhost_user": "serves its volumes by vhost-user-blk",
    "few_clients": "serves only a few clients at a time",
}
"""The capabilities that a case may require; each completes the sentence "the target ..."."""

IMAGE_FORMATS = ("raw", "qcow2", "vmdk", "vpc", "vdi", "vhdx", "luks", "qed", "parallels")
"""Image formats of ``-raw -qcow2 ...``, by their names in qemu-img."""


def missing_capabilities(required: Iterable[str], available: Collection[str]) -> list[str]:
    """Return a sentence for each capability in `required` that is not in `available`."""
    return [f"target lacks {word}" for word in required if word not in available]


def format_mismatch(formats: Collection[str], image_format: str) -> list[str]:
    """Return a sentence if `formats` excludes `image_format`; empty `formats` exclude none."""
    if not formats or image_format in formats:
        return []
    return [f"not for image format {image_format} (only {', '.join(formats)})"]
