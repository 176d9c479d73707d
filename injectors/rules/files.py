"""Read rules in any form; the contents decide which form it is, not the name of the file.

- QEMU's blkdebug.conf: its first line, except comments, is a [section] or key = value
- a command line of nbdkit: it begins with nbdkit, --filter=, or a parameter error- or delay-
- blockdev JSON: a mapping that has a driver, or a QMP command with one
- YAML, the project's own form: everything else
"""

from __future__ import annotations

import re

from injectors.rules import marked_yaml, parse_yaml
from injectors.rules.model import RuleSet

_INI = re.compile(r"\[\s*[A-Za-z][\w-]*(\s+\"[^\"]*\")?\s*\]|[\w.-]+\s*=")
_NBDKIT = re.compile(r"(nbdkit\b|--filter[= ]|(error|delay)(-\w+)*=)")
_NODE_KEYS = {"driver", "execute", "arguments"}


def form_of(text: str) -> str:
    """Return the form of a text: blkdebug-conf, blockdev-json, nbdkit or yaml."""
    lines = (line.strip() for line in text.splitlines())
    first = next((line for line in lines if line and not line.startswith("#")), "")
    if _NBDKIT.match(first):
        return "nbdkit"
    if _INI.match(first):
        return "blkdebug-conf"
    try:
        value = marked_yaml.load(text).value
    except marked_yaml.NotYaml:
        return "yaml"  # its reader raises the error again, with the name of the file
    is_node = isinstance(value, dict) and not _NODE_KEYS.isdisjoint(value)
    return "blockdev-json" if is_node else "yaml"


def read(text: str, source: str = "rules") -> RuleSet:
    """Return the rules of a text in any form.

    :raise RuleSyntaxError: the text is wrong; names the line, the key, and what is allowed.
    """
    form = form_of(text)
    if form == "yaml":
        return parse_yaml.read(text, source)
    if form == "blkdebug-conf":
        from injectors.rules import parse_ini

        return parse_ini.read(text, source)
    if form == "nbdkit":
        from injectors.rules import parse_nbdkit

        return parse_nbdkit.read(text, source)
    from injectors.rules import parse_blockdev

    return parse_blockdev.read(text, source)


def limits(text: str) -> list[str]:
    """Return the keys of a blockdev JSON that limit requests, which no rule set can hold.

    :raise RuleSyntaxError: the text is wrong.
    """
    if form_of(text) != "blockdev-json":
        return []
    from injectors.rules import parse_blockdev

    return parse_blockdev.limits(text)
