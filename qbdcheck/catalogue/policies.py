"""Policies: what cases demand beyond the documents that a basis may name, each with its reason.

A profile waives a policy by name (``waives: [discard-old-or-zero]``). A MUST has no entry here and
cannot be waived. docs/policies.md is made from this list and from the basis of each case.
"""

from __future__ import annotations

from typing import NamedTuple


class Policy(NamedTuple):
    """A demand that no document makes."""

    name: str
    sentence: str
    """What must hold, as a sentence."""
    reason: str
    """Why cases demand it."""


_ALL = (
    Policy(
        "discard-old-or-zero",
        "A discarded range reads as the old data or as zeroes, sector by sector.",
        "The NBD document lets a discarded range read as anything. Guests and image formats"
        " assume that it reads as before or as zeroes.",
    ),
    Policy(
        "discarded-space-is-a-hole",
        "A target that reports holes reports a hole where a range was discarded, or zeroed with"
        " unmap.",
        "The NBD document calls a discard a hint. A backend that never frees space fills up, and"
        " copies of its volumes grow.",
    ),
    Policy(
        "fresh-volume-reads-zero",
        "A volume that was just made reads as zeroes.",
        "The NBD document says nothing about it. A new volume with foreign data can reveal the"
        " data of another user, and qemu-img convert skips zeroes on a target that is zero.",
    ),
    Policy(
        "grown-part-reads-zero",
        "The new part of a volume that has grown reads as zeroes.",
        "QEMU and file systems assume it. Data that was cut off before must not come back.",
    ),
    Policy(
        "failed-write-old-or-new",
        "After a failed write each sector holds the old or the new data.",
        "The NBD document lets the range hold anything. Journals of file systems recover only"
        " if no third value appears.",
    ),
    Policy(
        "refused-request-changes-nothing",
        "A request that the server refuses as invalid changes no data, and the next request is"
        " served or the connection is closed.",
        "The NBD document does not say what a refused request leaves. A server that carries out a"
        " part of it damages data behind the end or of a read-only volume.",
    ),
    Policy(
        "taken-chains-are-given-back",
        "A daemon that continues a queue behind a broken chain of descriptors has used the chain.",
        "VIRTIO lets a device stop at a broken chain. If it continues and keeps the chain, then the"
        " guest waits forever, and its ring has less room from then on.",
    ),
    Policy(
        "used-length-covers-the-answer",
        "The used ring says that at least the data and the status of a read were written.",
        "VIRTIO lets a device write more than it says, and forbids a driver to trust the rest. To"
        " a driver that keeps to that, a read of length 0 has no data.",
    ),
    Policy(
        "known-transmission-flags",
        "A server sets no transmission flag that the NBD document lacks.",
        "Clients ignore unknown flags. If a feature is offered with the bit of another one, then no"
        " client uses it, or a later one uses it wrongly.",
    ),
    Policy(
        "zero-length-changes-nothing",
        "A request of length 0 succeeds or is refused, and changes nothing.",
        "The NBD document leaves it open. Clients send such requests by mistake, and a server"
        " that takes 0 for 2^32 or for the whole volume loses data.",
    ),
    Policy(
        "sector-writes-are-atomic",
        "A power cut leaves each sector of 512 bytes old or new, never mixed.",
        "Disks promise it, and file systems and databases build on it. The NBD document does not"
        " mention it.",
    ),
    Policy(
        "overlapping-writes-leave-one",
        "Where writes in flight overlap, each sector of 512 bytes holds the data of one of them.",
        "The NBD document lets a server process them in any order and does not forbid a mix."
        " Disks never mix them within a sector.",
    ),
    Policy(
        "requests-take-effect-at-one-moment",
        "Each sector of a request takes effect at one moment between request and reply, for all"
        " connections alike.",
        "The NBD document demands it only after a flush, and not for requests in flight. Cluster"
        " file systems and migration read what another connection has just written.",
    ),
    Policy(
        "no-late-write",
        "A write whose connection has ended is done at most once, and never after a later write"
        " to the same place was answered.",
        "The NBD document does not say when the work of a lost connection ends. QEMU repeats its"
        " requests on a new connection, and a late write then destroys newer data.",
    ),
    Policy(
        "answered-writes-outlive-their-connection",
        "Data of an answered write is read by later clients, although its client left without a"
        " flush.",
        "The NBD document promises durability only by flush and FUA. QEMU and the guest take an"
        " answered write for visible as long as the server lives.",
    ),
    Policy(
        "no-flush-means-no-cache",
        "A target that offers no flush loses no answered write in a power cut.",
        "The NBD document demands nothing without FLUSH. QEMU then tells the guest that the disk"
        " has no volatile cache, and the guest never flushes.",
    ),
    Policy(
        "block-sizes-reach-the-guest",
        "A QEMU driver reports the smallest request of a volume as its logical block, and the"
        " preferred request as its physical block.",
        "QEMU replaces a request that is too small by reading, changing and writing a block. That"
        " is right but slow, and a guest that knows the block sizes avoids it.",
    ),
    Policy(
        "written-data-is-no-hole",
        "Block status never reports a hole where data was written.",
        "The NBD document allows a hole that reads as data. qemu-img map shows it as not"
        " allocated, and copies skip it.",
    ),
    Policy(
        "volume-is-as-large-as-asked",
        "A volume has the requested size, or is rounded up to space that can be used.",
        "No document says how a volume is made. A rounded-down size cuts off the end of an image.",
    ),
    Policy(
        "new-size-is-seen",
        "After a resize each new client sees the new size, and no client reads or changes what is"
        " behind it.",
        "The NBD document fixes the size for the life of a connection and says nothing about the"
        " next one.",
    ),
    Policy(
        "snapshot-is-one-moment",
        "A snapshot shows the volume at one moment, and no later change alters it.",
        "No document describes snapshots of a backend. Backups rely on this.",
    ),
    Policy(
        "clone-is-independent",
        "A clone starts with the data of its snapshot, and then shares no change with it, its"
        " parent or other clones.",
        "No document describes clones of a backend. Guests that were made from one image rely on"
        " this.",
    ),
    Policy(
        "dirty-bitmap-covers-all-changes",
        "A dirty bitmap of the target covers each range that was written, zeroed or discarded since"
        " its snapshot.",
        "The NBD document leaves the meaning of other contexts than base:allocation to the"
        " server. An incremental backup loses what the bitmap omits.",
    ),
    Policy(
        "failure-is-not-sticky",
        "A request that failed for a reason that has passed succeeds when it is repeated.",
        "The NBD document does not say what follows an error. QEMU stops a guest at an error and"
        " repeats the request when the cause is gone.",
    ),
    Policy(
        "request-holds-only-itself",
        "A request that waits does not hold up requests to other places, and all requests end.",
        "The NBD document sets no time for a reply. A guest takes a request that does not end for"
        " a broken disk.",
    ),
    Policy(
        "same-request-same-answer",
        "A server answers the same invalid request in the same way each time.",
        "The NBD document allows several errors. An answer that changes shows that the server"
        " uses memory that it did not set.",
    ),
    Policy(
        "clients-do-not-disturb-each-other",
        "A client that stalls, vanishes or breaks the protocol disturbs no other client and costs"
        " little memory.",
        "The NBD document only permits a server to defend itself. One client must not stop the"
        " guests of others.",
    ),
    Policy(
        "cost-of-a-request-is-bounded",
        "What a request costs the server does not grow with the size of a volume, the pieces of its"
        " data, its snapshots or earlier requests; an idle server costs nothing.",
        "No document limits the cost. A backend whose cost grows becomes unusable on the volumes"
        " that matter most, long after it passed all tests on small ones.",
    ),
    Policy(
        "qemu-survives-any-server",
        "QEMU neither crashes nor hangs, nor takes wrong messages for data, whatever a server"
        " sends.",
        "The NBD document does not say what a client does with a server that breaks it. QEMU"
        " treats servers as not trusted.",
    ),
    Policy(
        "image-survives-errors",
        "After any error below it an image is consistent, apart from leaks, and has all data that"
        " was acknowledged.",
        "The specifications of image formats describe an image at rest, not after an error.",
    ),
    Policy(
        "image-survives-power-cut",
        "After any power cut an image is consistent, apart from leaks, and has all data that was"
        " flushed.",
        "The specifications of image formats describe an image at rest, not after a power cut.",
    ),
)
POLICIES = {policy.name: policy for policy in _ALL}
"""Each policy by its name."""
