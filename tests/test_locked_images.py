"""A case of image formats lets other programs read an image only while it is closed.

QEMU locks the file of an image that is open for writing against readers. Over NBD there is no file,
so such a case passes there and fails on every image in a file, where nothing is wrong.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.syntax_trees import tree_of
from tests.test_tidy import cases, none_of, relative

READERS = ("verify", "read_all")
OPENERS = ("qemu_io", "storage_daemon", "qemu")


def runs_on_images(tree: ast.AST) -> bool:
    """Return whether a case has a keyword ``formats`` with another format than raw."""
    return any(
        isinstance(node, ast.keyword)
        and node.arg == "formats"
        and not (isinstance(node.value, ast.Constant) and node.value.value == "raw")
        for node in ast.walk(tree)
    )


def reads_of_open_images(tree: ast.AST) -> Iterator[int]:
    """Yield the lines in which a disk is read by another program while qemu-io has it open."""
    for block in ast.walk(tree):
        if not isinstance(block, ast.With):
            continue
        opened = {
            argument.id
            for item in block.items
            if isinstance(item.context_expr, ast.Call)
            and isinstance(item.context_expr.func, ast.Name)
            and item.context_expr.func.id in OPENERS
            for argument in item.context_expr.args[:1]
            if isinstance(argument, ast.Name)
        }
        for node in (inner for part in block.body for inner in ast.walk(part)):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id=disk), attr=method)):
                    if disk in opened and method in READERS:
                        yield node.lineno


def test_reads_of_open_images_are_found() -> None:
    text = (
        "with qemu_io(disk) as io:\n    for _ in (1, 2):\n        disk.verify()\nother.verify()\n"
    )
    assert list(reads_of_open_images(ast.parse(text))) == [3]
    assert not list(reads_of_open_images(ast.parse(text.replace("disk.v", "other.v"))))


def test_no_case_of_image_formats_has_an_open_image_read() -> None:
    found = {path: tree_of(path) for path in cases()}
    on_images = {path: tree for path, tree in found.items() if runs_on_images(tree)}
    assert len(on_images) >= 40
    none_of(
        [
            f"{relative(path)}:{line} reads an image that qemu-io has open: close it first"
            for path, tree in on_images.items()
            for line in reads_of_open_images(tree)
        ]
    )
