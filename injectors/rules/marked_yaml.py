"""YAML with the line of every key, for error messages."""

from __future__ import annotations

from dataclasses import dataclass

import yaml

Value = str | int | float | bool | None | list["Value"] | dict[str, "Value"]
KeyPath = tuple[str | int, ...]
VALUES_MAX = 100_000
"""Most values in a document, with aliases expanded: a few lines can expand to billions."""


class NotYaml(Exception):  # noqa: N818  # reads as a sentence where it is raised
    """A text is no YAML, or has a key twice. ``line`` is from 1, or 0 if it is unknown."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


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


def load(text: str) -> Marked:
    """Return one YAML document, whose mappings have unique strings as keys.

    :raise NotYaml: the text is no YAML, or has a key twice.
    """
    try:
        root = yaml.compose(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        why = f"not YAML: {error.problem or error.context}"
        raise NotYaml(mark.line + 1 if mark else 0, why) from None
    except yaml.YAMLError as error:
        raise NotYaml(0, f"not YAML: {' '.join(str(error).split())}") from None
    lines: dict[KeyPath, int] = {(): 1}
    if root is None:
        return Marked(None, lines)
    try:
        return Marked(_Builder(lines).build(root, ()), lines)
    except RecursionError:
        raise NotYaml(0, "lists and mappings are nested too deeply") from None


class _Builder:
    """Convert nodes to plain values, and record lines."""

    def __init__(self, lines: dict[KeyPath, int]) -> None:
        self._lines = lines
        self._scalars = yaml.SafeLoader("")
        self._count = 0

    def build(self, node: yaml.Node, path: KeyPath) -> Value:
        """Return the plain value of a node."""
        self._count += 1
        if self._count > VALUES_MAX:
            raise NotYaml(node.start_mark.line + 1, f"more than {VALUES_MAX} values")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            items: list[Value] = []
            for number, item in enumerate(node.value):
                self._lines[*path, number] = item.start_mark.line + 1
                items.append(self.build(item, (*path, number)))
            return items
        try:
            value = self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError, LookupError):  # such as 2026-02-31, !!bool maybe
            line = node.start_mark.line + 1
            why = f"not YAML: {node.value!r} is no value of type {node.tag}"
            raise NotYaml(line, why) from None
        if value is None or isinstance(value, str | int | float | bool):
            return value
        return str(node.value)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> Value:
        result: dict[str, Value] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise NotYaml(line, "a key is a list or a mapping; use a string")
            key = str(key_node.value)
            if key in result:
                raise NotYaml(line, f"key '{key}' is given twice; remove one")
            self._lines[*path, key] = line
            result[key] = self.build(value_node, (*path, key))
        return result
