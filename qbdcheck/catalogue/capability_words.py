"""The words of ``requires`` and ``formats``, and what is missing of them, as sentences."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

CAPABILITIES: Mapping[str, str] = {
    "flush": "makes data durable on request",
    "fua": "makes a single write durable",
    "discard": "takes discard requests",
    "write_zeroes": "takes write-zeroes requests",
    "fast_zero": "refuses slow write-zeroes on request",
    "cache": "takes cache requests",
    "df": "takes reads that must not be fragmented",
    "structured": "speaks structured replies",
    "block_status": "reports block status",
    "multi_conn": "lets several connections share one volume",
    "resize": "resizes volumes",
    "snapshot": "takes snapshots of volumes",
    "snapshot_read": "serves its snapshots, to be read",
    "snapshot_remove": "removes snapshots",
    "clone": "makes writable clones of snapshots",
    "add_volume": "serves further volumes on the same server",
    "kill": "can be killed and started again",
    "crash": "can lose what was not flushed, on command",
    "control": "has a control socket",
    "nbd": "can be reached by a raw NBD client",
    "raw_size": "makes volumes of any size in bytes",
    "min_block": "can be started with a minimum block size",
    "read_only": "can be started read-only",
    "tls": "can be started with TLS required",
    "write_log": "can log the writes of a volume (dm-log-writes format)",
    "aio_native": "can be opened with aio=native",
}
"""Each capability that a case may require, as the end of the sentence "the target ...".."""

IMAGE_FORMATS = ("raw", "qcow2", "vmdk", "vpc", "vdi", "vhdx", "luks", "qed", "parallels")
"""Image formats of ``-raw -qcow2 ...``, by their names in qemu-img."""


def missing_capabilities(required: Iterable[str], available: Collection[str]) -> list[str]:
    """A sentence for each word of `required` that is not in `available`."""
    return [f"target lacks {word}" for word in required if word not in available]


def format_mismatch(formats: Collection[str], image_format: str) -> list[str]:
    """A sentence where the case is not for `image_format`; `formats` is empty for any."""
    if not formats or image_format in formats:
        return []
    return [f"not for image format {image_format} (only {', '.join(formats)})"]
