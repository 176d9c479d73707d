"""The groups that cases may name: the words of ``suites/groups.yaml``, each with what it means."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from pathlib import Path

from qbdcheck.errors import UsageError

QUICK = "quick"
"""The group of a bare ``./check``."""
DISABLED = "disabled"
"""Cases of this group run only when they are named one by one, or when ``-g disabled`` asks."""


def load_groups(suites_dir: Path) -> dict[str, str]:
    """The groups of `suites_dir`: what each word means.

    :raise UsageError: groups.yaml is missing, or not a mapping of words to sentences.
    """
    import yaml  # 30 ms that a case's own import of @case does not pay

    path = suites_dir / "groups.yaml"
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"no {path}: it lists the groups that cases may name") from None
    except (OSError, ValueError, LookupError, yaml.YAMLError) as error:
        raise UsageError(f"cannot read {path}: {' '.join(str(error).split())}") from None
    if not isinstance(loaded, dict) or not all(
        isinstance(word, str) and isinstance(meaning, str) for word, meaning in loaded.items()
    ):
        raise UsageError(f"{path}: must map each group to a sentence, as in 'rw: reads and writes'")
    return loaded


def check_groups(words: Iterable[str], known: Collection[str]) -> None:
    """Refuse a word that is not a known group.

    :raise UsageError: names it, the nearest and all known groups.
    """
    for word in words:
        if word not in known:
            near = difflib.get_close_matches(word, known, n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise UsageError(f"unknown group {word!r}{meant} Known: {' '.join(sorted(known))}")
