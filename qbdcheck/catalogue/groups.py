"""The groups that cases may name: the keys of ``suites/groups.yaml``, with their descriptions."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path

from qbdcheck.errors import UsageError
from qbdcheck.suggestions import suggestion

QUICK = "quick"
"""The group of a bare ``./check``."""
DISABLED = "disabled"
"""Cases of this group run only if they are named individually, or with ``-g disabled``."""
_LINE = re.compile(r"(?P<group>[a-z][a-z0-9-]*): +(?P<meaning>[^\s\[{&*!|>%@`].*)\Z")


def load_groups(suites_dir: Path) -> dict[str, str]:
    """Return the groups of `suites_dir` and their descriptions.

    The file is YAML, but only lines ``group: description``. It is read without a YAML parser, so
    that ``./check -l`` works without third-party packages.

    :raise UsageError: groups.yaml is missing or has another kind of line.
    """
    path = suites_dir / "groups.yaml"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise UsageError(f"no {path}: it lists the groups that cases may name") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {path}: {error}") from None
    groups: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        found = _LINE.match(line.rstrip())
        if found is None:
            raise UsageError(f"{path}:{number}: write 'group: description', not {line!r}")
        if found["group"] in groups:
            raise UsageError(f"{path}:{number}: the group {found['group']} is listed twice")
        groups[found["group"]] = found["meaning"]
    return groups


def check_groups(groups: Iterable[str], known: Collection[str]) -> None:
    """Check that all `groups` are known.

    :raise UsageError: one is unknown; the message lists the nearest and all known groups.
    """
    for group in groups:
        if group not in known:
            near = suggestion(group, known)
            hint = f"; did you mean {near}?" if near else ""
            raise UsageError(f"unknown group {group!r}{hint}; known: {' '.join(sorted(known))}")
