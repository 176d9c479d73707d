"""Makes docs/errno-matrix.md of what cases 299, 304 and 305 saw (their golden files).

    .venv/bin/python tools/docs/errno_matrix.py [--check]

After a change of QEMU: `./check --update-golden 299 304 305`, then this.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/errno-matrix.md"
HEAD = """# The errno matrix

Made by `tools/docs/errno_matrix.py` of the golden files of cases 299, 304 and 305; do not edit. Measured with QEMU 7.2.22.

A row is the errno that a request fails with where the fault is; a column says what is seen of it. `ok`: no error. `dropped`: the server closes the connection and the errno is lost. An errno with ¹ is none that NBD carries (NBD document, "Error values"): it travels as another.

In all of these the volume is as it was before: cases end with a comparison of every sector.
"""  # noqa: E501  # a paragraph of the page is one line
WIRE = """`simple-read`: READ with simple replies; `read`: with structured replies; `read-DF`: these with the flag DF. The other commands answer the same with both kinds of replies."""  # noqa: E501
SECTIONS = {
    "299_errno_of_the_backend": (
        "In the backend, or in a proxy in front of it (a rule), over NBD",
        f"{WIRE} `qemu-io`: its read, by QEMU's NBD client. `job`: the error of a backup whose source is the volume. The reference backend itself, and the fault proxy in front of qemu-nbd, nbdkit and qemu-storage-daemon, answer alike.",  # noqa: E501
    ),
    "304_errno_over_an_export": (
        "In blkdebug, over an export of qemu-storage-daemon",
        f"{WIRE} QEMU 7.2 drops the connection where a structured read without DF fails on data; it takes ENOTSUP of a discard for success, as a discard is only advice.",  # noqa: E501
    ),
    "305_errno_inside_qemu": (
        "In blkdebug, inside QEMU",
        "`write zeroes discard read`: qemu-io with blkdebug in itself, where every errno is told. `nbd-write`, `nbd-read`: qemu-io over an export; QEMU's client asks for structured replies without DF, so it meets the dropped connection and says EIO. `job`: the error of a backup that reads. `device`: `reason` of the event BLOCK_IO_ERROR for an ATA disk with rerror=report; the guest sees the error bit and nothing more.",  # noqa: E501
    ),
}
CARRIED = {"EPERM", "EIO", "ENOMEM", "EINVAL", "ENOSPC", "EOVERFLOW", "ENOTSUP", "ESHUTDOWN"}


def table(text: str) -> str:
    """Return a golden file as a table of Markdown; what differs from the row's errno is bold."""
    head, *rows = [line.split() for line in text.splitlines()]
    lines = [head, ["---"] * len(head)]
    for injected, *seen in rows:
        name = injected if injected in CARRIED else injected + "¹"
        lines.append([name, *(one if one == injected else f"**{one}**" for one in seen)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def page() -> str:
    """Return the page."""
    parts = [HEAD]
    for stem, (title, text) in SECTIONS.items():
        golden = (ROOT / f"golden/{stem}.out").read_text()
        parts.append(f"## {title}\n\nCase {stem[:3]}. {text}\n\n{table(golden)}\n")
    return "\n".join(parts)


def main(words: list[str]) -> int:
    """Write the page, or with ``--check`` say whether it is in step; return the exit status."""
    if words == ["--check"]:
        if PAGE.read_text() == page():
            return 0
        sys.stderr.write(f"{PAGE.name} is old: run tools/docs/errno_matrix.py\n")
        return 1
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
