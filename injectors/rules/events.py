"""The events of QEMU's blkdebug, and the kinds of request of a rule.

Source: QEMU 7.2, qapi/block-core.json, BlkdebugEvent and BlkdebugIOType.
"""

from __future__ import annotations

import enum

EVENTS: dict[str, str] = {
    "l1_update": "qcow2 writes one entry of the L1 table",
    "l1_grow_alloc_table": "qcow2 allocates a larger L1 table",
    "l1_grow_write_table": "qcow2 writes the larger L1 table",
    "l1_grow_activate_table": "qcow2 points its header at the larger L1 table",
    "l2_load": "an L2 table is read",
    "l2_update": "an L2 table is written",
    "l2_update_compressed": "an L2 entry of a compressed cluster is written",
    "l2_alloc_cow_read": "qcow2 reads a shared L2 table before it copies it",
    "l2_alloc_write": "qcow2 writes a new L2 table",
    "read_aio": "a format driver reads guest data",
    "read_backing_aio": "guest data is read from the backing file",
    "read_compressed": "a compressed cluster is read",
    "write_aio": "a format driver writes guest data",
    "write_compressed": "a compressed cluster is written",
    "vmstate_load": "qcow2 loads the state of a virtual machine",
    "vmstate_save": "qcow2 saves the state of a virtual machine",
    "cow_read": "old data is read to copy it on write",
    "cow_write": "old data is written to its copy",
    "reftable_load": "qcow2 loads its refcount table (at open)",
    "reftable_grow": "qcow2 writes a larger refcount table",
    "reftable_update": "qcow2 writes a new refcount table (when it empties an image)",
    "refblock_load": "qcow2 reads a refcount block",
    "refblock_update": "in the list, but never fired in QEMU 7.2",
    "refblock_update_part": "qcow2 writes part of a refcount block",
    "refblock_alloc": "qcow2 looks for room for a refcount block",
    "refblock_alloc_hookup": "qcow2 enters a new refcount block in the table",
    "refblock_alloc_write": "qcow2 writes a new refcount block",
    "refblock_alloc_write_blocks": "qcow2 writes refcount blocks while it grows the table",
    "refblock_alloc_write_table": "qcow2 writes the grown refcount table",
    "refblock_alloc_switch_table": "qcow2 switches to the grown refcount table",
    "cluster_alloc": "a cluster is allocated",
    "cluster_alloc_bytes": "qcow2 allocates room inside a cluster",
    "cluster_free": "qcow2 frees clusters",
    "flush_to_os": "the block layer flushes a driver's caches to the host",
    "flush_to_disk": "the block layer flushes the host's caches to the disk",
    "pwritev_rmw_head": "a read-modify-write reads its head",
    "pwritev_rmw_after_head": "a read-modify-write has read its head",
    "pwritev_rmw_tail": "a read-modify-write reads its tail",
    "pwritev_rmw_after_tail": "a read-modify-write has read its tail",
    "pwritev": "the block layer is about to write",
    "pwritev_zero": "the block layer is about to write zeroes",
    "pwritev_done": "the block layer has written",
    "empty_image_prepare": "qcow2 prepares to empty an image",
    "l1_shrink_write_table": "qcow2 clears the L1 entries of a shrunk image",
    "l1_shrink_free_l2_clusters": "qcow2 frees the L2 tables of a shrunk image",
    "cor_write": "copy-on-read writes what it read",
    "cluster_alloc_space": "qcow2 fills a new cluster with zeroes",
    "none": "no event: the rule is active from the start",
}
"""Each event, and what QEMU does when it fires."""

EVERY_OPEN = "none"
"""The event that fires once, when the blkdebug node is created."""


class IoType(enum.StrEnum):
    """Kinds of request, with blkdebug's names. Strings, because their hash is cached."""

    READ = "read"
    WRITE = "write"
    WRITE_ZEROES = "write-zeroes"
    DISCARD = "discard"
    FLUSH = "flush"
    BLOCK_STATUS = "block-status"


DEFAULT_IOTYPES = frozenset(IoType) - {IoType.BLOCK_STATUS}
"""Kinds of a rule without iotype (block/blkdebug.c, add_rule: all but block-status)."""


def event_name(text: str) -> str:
    """Return the name of an event; dotted names of older QEMU are accepted.

    :raise ValueError: there is no such event.
    """
    name = text.replace(".", "_").replace("-", "_").lower()
    if name not in EVENTS:
        raise ValueError(text)
    return name
