"""The basis of a case: the demand of a document, or the policy, that the case checks.

A basis is one of::

    MUST: <document>, <section>      the document demands it
    SHOULD: <document>, <section>    the document recommends it
    POLICY: <name>                   cases demand it beyond the documents (policies.py)

A case has one or several. A profile can waive a policy, never a MUST or a SHOULD.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from qbdcheck.catalogue.policies import POLICIES
from qbdcheck.suggestions import suggestion

MUST, SHOULD, POLICY = "MUST", "SHOULD", "POLICY"
STRENGTHS = (MUST, SHOULD, POLICY)
"""The strengths of a basis, the strongest first."""

DOCUMENTS = {
    "NBD": "doc/proto.md of the NBD project",
    "NBD URI": "doc/uri.md of the NBD project",
    "QEMU": "a file of QEMU's docs, without its suffix",
    "QAPI": "QEMU's QMP reference manual: a command or a type",
    "qemu-system(1)": "QEMU's invocation: an option",
    "qemu-img(1)": "qemu-img: a command",
    "qemu-block-drivers(7)": "QEMU's block drivers: a format",
    "fsync(2)": "Linux man pages and POSIX",
    "fallocate(2)": "Linux man pages",
    "open(2)": "Linux man pages and POSIX",
    "virtio": "the VIRTIO specification: a device",
    "ATA": "the ATA command set: a command, or all",
    "SCSI": "SCSI block commands (SBC-3) and primary commands (SPC-4): a command, or all",
    "libvirt": "libvirt's XML formats: a format and an element",
    "virsh(1)": "virsh: a command",
    "fio(1)": "fio: an option",
    "LTP": "the Linux Test Project: a runtest file",
    "SQLite": "documents of SQLite: a title",
    "qbdcheck": "a document of this project: what it says of itself",
}
"""The documents that a basis may name, and what they are."""

NBD_SECTIONS = frozenset((
    "Conventions",
    "Newstyle negotiation",
    "Fixed newstyle negotiation",
    "Handshake",
    "Transmission",
    "Ordering of messages and writes",
    "Request message",
    "Simple reply message",
    "Structured reply chunk message",
    "Terminating the transmission phase",
    "TLS support",
    "NOTLS mode",
    "FORCEDTLS mode",
    "SELECTIVETLS mode",
    "Block size constraints",
    "Metadata querying",
    "Handshake flags",
    "Client flags",
    "Transmission flags",
    "Option types",
    "NBD_OPT_EXPORT_NAME",
    "NBD_OPT_ABORT",
    "NBD_OPT_LIST",
    "NBD_OPT_STARTTLS",
    "NBD_OPT_INFO",
    "NBD_OPT_GO",
    "NBD_OPT_STRUCTURED_REPLY",
    "NBD_OPT_LIST_META_CONTEXT",
    "NBD_OPT_SET_META_CONTEXT",
    "NBD_OPT_EXTENDED_HEADERS",
    "Option reply types",
    "Metadata contexts",
    "Command flags",
    "Structured reply flags",
    "Structured reply types",
    "Request types",
    "NBD_CMD_READ",
    "NBD_CMD_WRITE",
    "NBD_CMD_DISC",
    "NBD_CMD_FLUSH",
    "NBD_CMD_TRIM",
    "NBD_CMD_CACHE",
    "NBD_CMD_WRITE_ZEROES",
    "NBD_CMD_BLOCK_STATUS",
    "NBD_CMD_RESIZE",
    "Error values",
))  # fmt: skip
"""The sections of the NBD document, and its options and commands, that a basis may name."""


def check_basis(basis: str | Sequence[str]) -> tuple[str, ...]:
    """Return the basis of a case as a tuple, the strongest first.

    :raise ValueError: a basis has another form, or names an unknown document, section or policy.
    """
    each = (basis,) if isinstance(basis, str) else tuple(basis)
    for one in each:
        _check_one(one)
    return by_strength(each)


def by_strength(basis: Sequence[str]) -> tuple[str, ...]:
    """Return ``basis`` with each MUST first, then each SHOULD, then each POLICY."""
    return tuple(sorted(basis, key=lambda one: STRENGTHS.index(strength_of(one))))


def strength_of(basis: str) -> str:
    """Return ``MUST``, ``SHOULD`` or ``POLICY``.

    :raise ValueError: the basis has none of them.
    """
    strength, colon, _ = basis.partition(": ")
    if strength not in STRENGTHS or not colon:
        raise ValueError(
            f"basis {basis!r}: write 'MUST: <document>, <section>', 'SHOULD: <document>,"
            " <section>' or 'POLICY: <name>'"
        )
    return strength


def rank(basis: Sequence[str]) -> int:
    """Return the place of the strongest basis: 0 for a MUST; failures are sorted by it.

    Without a basis it is 0, so that nobody overlooks the failure.
    """
    return min((STRENGTHS.index(strength_of(one)) for one in basis), default=0)


def policies_of(basis: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the policies in ``basis``."""
    return tuple(one.partition(": ")[2] for one in basis if strength_of(one) == POLICY)


def is_waived(basis: Sequence[str], waived: Collection[str]) -> bool:
    """Return whether ``basis`` consists of policies in ``waived`` only. An empty one is not."""
    policies = policies_of(basis)
    return bool(policies) and len(policies) == len(basis) and set(policies) <= set(waived)


def _check_one(basis: object) -> None:
    if not isinstance(basis, str):
        raise ValueError(f"basis {basis!r} is not a text")  # one kind of error
    strength = strength_of(basis)
    rest = basis.partition(": ")[2]
    if strength == POLICY:
        if rest not in POLICIES:
            raise ValueError(f"unknown policy {rest!r}; {_nearest(rest, POLICIES)}")
        return
    document, comma, section = rest.partition(", ")
    if document not in DOCUMENTS:
        raise ValueError(f"unknown document {document!r}; {_nearest(document, DOCUMENTS)}")
    if not comma or not section.strip():
        raise ValueError(f"basis {basis!r} names no section: '{strength}: {document}, <section>'")
    if document == "NBD" and section not in NBD_SECTIONS:
        raise ValueError(
            f"the NBD document has no section {section!r}; {_nearest(section, NBD_SECTIONS)}"
        )


def _nearest(word: str, known: Collection[str]) -> str:
    near = suggestion(word, known)
    return f"did you mean {near!r}?" if near else f"known: {', '.join(sorted(known))}"
