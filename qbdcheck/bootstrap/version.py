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
    """Return the commit of the checkout, with ``-dirty`` if files differ; empty without git."""
    return _git_output("describe", "--always", "--abbrev=12", "--dirty", "--exclude=*")


def _git_description() -> str:
    return _git_output("describe", "--tags", "--dirty")


def _git_output(*arguments: str) -> str:
    if not (ROOT / ".git").exists():
        return ""
    argv = ["git", "-C", str(ROOT), *arguments]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _project_version() -> str:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])
