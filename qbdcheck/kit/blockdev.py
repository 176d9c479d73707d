"""Block nodes as QEMU takes them: blockdev dictionaries and json: file names."""

from __future__ import annotations

from qbdcheck.programs.blockdev import image_options, json_filename, nbd_node, node, over

__all__ = [
    "image_options",
    "json_filename",
    "nbd_node",
    "node",
    "over",
]
