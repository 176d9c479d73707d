"""The version of this checkout. Standard library only."""

from __future__ import annotations

import subprocess
import tomllib

from qbdcheck.files import ROOT

_LIMIT_S = 10.0


def version() -> str:
    """Return ``git describe`` of the checkout; without a git tag, the version of pyproject.toml."""
    return _git_description() or _project_version()


def commit() -> str:
    """Return the commit of the checkout, with ``-dirty`` if it has changes; "" without git."""
    return _git_description("--always", "--exclude=*", "--abbrev=12")


def version_and_commit() -> str:
    """Return ``0.1.0 (8b026c9a0b1c)``, or only the version where it tells the commit."""
    name, of = version(), commit()
    return f"{name} ({of})" if of and of.partition("-")[0][:7] not in name else name


def _git_description(*options: str) -> str:
    if not (ROOT / ".git").exists():
        return ""
    argv = ["git", "-C", str(ROOT), "describe", *(options or ("--tags",)), "--dirty"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _project_version() -> str:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])
