"""Read blockdev JSON: the options of a QEMU node with driver blkdebug.

qapi/block-core.json, BlockdevOptionsBlkdebug. The node may be the document itself, or lie anywhere
in it: below the ``file`` of a qcow2 node, or in the ``arguments`` of blockdev-add. Limits of the
node, such as ``align`` and ``max-transfer``, are no rules; `limits` names them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from injectors.rules import marked_yaml
from injectors.rules.errors import KeyProblem, RuleSyntaxError, meant
from injectors.rules.fields import rule_from, state_from
from injectors.rules.model import Rule, RuleSet

T = TypeVar("T")
_LIMITS = ("align", "max-transfer", "opt-write-zero", "max-write-zero", "opt-discard",
           "max-discard")  # fmt: skip
_RULES = {"inject-error": ("event", "state", "iotype", "errno", "sector", "once", "immediately"),
          "set-state": ("event", "state", "new_state")}  # fmt: skip
_NAMES = {"driver", "node-name", "id", "image", "config", "read-only", "auto-read-only", "cache",
          "discard", "detect-zeroes", "force-share", "take-child-perms",
          "unshare-child-perms"}  # fmt: skip
"""Keys of the node that are neither rules nor limits."""


class _Node(NamedTuple):
    """The options of a blkdebug node, and where they are."""

    options: dict[str, Any]
    document: marked_yaml.Marked
    path: marked_yaml.KeyPath
    source: str

    def error(self, path: marked_yaml.KeyPath, message: str) -> RuleSyntaxError:
        """Return an error with the line of a key in the node."""
        return RuleSyntaxError(self.source, self.document.line((*self.path, *path)), message)


def read(text: str, source: str = "blockdev.json") -> RuleSet:
    """Return the rules of the blkdebug node in a text of JSON.

    :raise RuleSyntaxError: names the line and the key, and what is allowed there.
    """
    node = _node(text, source)
    for key in node.options:
        if key == "config":
            raise node.error((key,), "config: this key names a file with the rules; read that file")
        if key not in _RULES and key not in _LIMITS and key not in _NAMES:
            allowed = ", ".join([*_RULES, *_LIMITS])
            hint = meant(key, (*_RULES, *_LIMITS))
            why = f"unknown key {key} of a blkdebug node{hint}; rules and limits are {allowed}"
            raise node.error((key,), why)
    rules = _entries(node, "inject-error", _rule)
    return RuleSet(tuple(rules), tuple(_entries(node, "set-state", state_from)))


def limits(text: str) -> list[str]:
    """Return the keys of the blkdebug node that limit requests; a rule set cannot hold them.

    :raise RuleSyntaxError: the text does not have exactly one blkdebug node.
    """
    options = _node(text, "blockdev.json").options
    return [key for key in _LIMITS if key in options]


def _node(text: str, source: str) -> _Node:
    """Return the only blkdebug node of a text.

    :raise RuleSyntaxError: the text is no JSON, or does not have exactly one such node.
    """
    try:
        document = marked_yaml.load(text)
    except marked_yaml.NotYaml as error:
        raise RuleSyntaxError(source, error.line, str(error)) from None
    found = list(_nodes(document.value, ()))
    if len(found) != 1:
        count = f"{len(found)} nodes" if found else "no node"
        raise RuleSyntaxError(source, 1, f"{count} with driver blkdebug; exactly one is required")
    path, options = found[0]
    return _Node(options, document, path, source)


def _nodes(
    value: marked_yaml.Value, path: marked_yaml.KeyPath
) -> Iterator[tuple[marked_yaml.KeyPath, dict[str, Any]]]:
    if isinstance(value, dict):
        if value.get("driver") == "blkdebug":
            yield path, value
        for key, one in value.items():
            yield from _nodes(one, (*path, key))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _nodes(one, (*path, number))


def _entries(node: _Node, key: str, make: Callable[[Mapping[str, Any]], T]) -> list[T]:
    """Return what ``make`` makes of each entry of a list in the node.

    :raise RuleSyntaxError: an entry is wrong.
    """
    entries = node.options.get(key, [])
    if not isinstance(entries, list):
        raise node.error((key,), f"{key}: must be a list")
    made = []
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise node.error((key, number), f"{key}: an entry must be a mapping, not {entry!r}")
        for name in entry:
            if name not in _RULES[key]:
                why = f"{name}: unknown key; an entry of {key} has {', '.join(_RULES[key])}"
                raise node.error((key, number, name), why)
        try:
            made.append(make(entry))
        except KeyProblem as error:
            raise node.error((key, number, error.key), str(error)) from None
    return made


def _rule(options: Mapping[str, Any]) -> Rule:
    """Return the rule of an entry; sector -1 means any sector, as in QEMU."""
    is_anywhere = options.get("sector") == -1
    return rule_from({k: v for k, v in options.items() if not (is_anywhere and k == "sector")})
