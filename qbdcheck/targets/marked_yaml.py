"""YAML with the line of every key, so that an error can say where it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from qbdcheck.errors import UsageError

Value = str | int | float | bool | None | list["Value"] | dict[str, "Value"]
KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Marked:
    """A document: its plain value, and the line (from 1) of each key and list item."""

    value: Value
    lines: dict[KeyPath, int]

    def line(self, path: KeyPath) -> int:
        """Return the line of a key, or of the nearest key around it."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return 1


def load(file: Path) -> Marked:
    """Read a YAML file with one document, whose mappings have strings as keys, each only once.

    :raise UsageError: it cannot be read, is no YAML, or has a key twice; names file and line.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{file}: is not UTF-8 text") from None
    try:
        root = yaml.compose(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{file}:{mark.line + 1}" if mark else str(file)
        raise UsageError(f"{where}: not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise UsageError(f"{file}: not YAML: {' '.join(str(error).split())}") from None
    lines: dict[KeyPath, int] = {(): 1}
    if root is None:
        return Marked(None, lines)
    return Marked(_Builder(file, lines).build(root, ()), lines)


class _Builder:
    """Turns nodes into plain values and notes lines on the way."""

    def __init__(self, file: Path, lines: dict[KeyPath, int]) -> None:
        self._file = file
        self._lines = lines
        self._scalars = yaml.SafeLoader("")

    def build(self, node: yaml.Node, path: KeyPath) -> Value:
        """Return the plain value of a node."""
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            items: list[Value] = []
            for number, item in enumerate(node.value):
                self._lines[*path, number] = item.start_mark.line + 1
                items.append(self.build(item, (*path, number)))
            return items
        value = self._scalars.construct_object(node)
        if value is None or isinstance(value, str | int | float | bool):
            return value
        return str(node.value)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> Value:
        result: dict[str, Value] = {}
        for key_node, value_node in node.value:
            key, line = str(key_node.value), key_node.start_mark.line + 1
            if key in result:
                raise UsageError(f"{self._file}:{line}: key '{key}' is there twice; remove one")
            self._lines[*path, key] = line
            result[key] = self.build(value_node, (*path, key))
        return result
