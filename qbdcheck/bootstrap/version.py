"""The version: of this checkout, of an unpacked sdist, or of the installed package.

The build of a wheel calls `version` too, so the number below is the only place that is edited.
Standard library only.
"""

from __future__ import annotations

import importlib.metadata
import re
import subprocess

from qbdcheck.files import INSTALLED, ROOT

FIRST_RELEASE = "0.1.0"
"""The number before the first tag, and where git does not tell a tag."""
_LIMIT_S = 10.0
_DESCRIBED = re.compile(r"v([0-9.]+(?:(?:a|b|rc)\d+)?)-(\d+)-(g[0-9a-f]+(?:-dirty)?)")


def version() -> str:
    """Return the version in the form of PEP 440.

    The commit with the tag v1.2 is 1.2, and the third commit after it is ``1.2.post3+gHASH``.
    Before the first tag it is ``FIRST_RELEASE.devCOUNT+gHASH``, where COUNT is the number of
    commits. The part after the plus sign ends with ``dirty`` if files were changed.
    """
    if INSTALLED:
        return importlib.metadata.version("qbdcheck")
    return _of_git() or _of_sdist() or FIRST_RELEASE


def _of_git() -> str:
    if not (ROOT / ".git").exists():
        return ""
    described = _git("describe", "--tags", "--match", "v[0-9]*", "--long", "--dirty")
    if found := _DESCRIBED.fullmatch(described):
        tag, count, local = found[1], int(found[2]), found[3].replace("-", ".")
        number = f"{tag}.post{count}" if count else tag
        return f"{number}+{local}" if count or "dirty" in local else number
    count_of_commits = _git("rev-list", "--count", "HEAD")
    commit = _git("describe", "--always", "--dirty", "--exclude=*").replace("-", ".")
    return f"{FIRST_RELEASE}.dev{count_of_commits}+g{commit}" if commit else ""


def commit() -> str:
    """Return the commit of the checkout, with ``-dirty`` if it has changes; "" without git."""
    if INSTALLED or not (ROOT / ".git").exists():
        return ""
    return _git("describe", "--always", "--exclude=*", "--abbrev=12", "--dirty")


def version_and_commit() -> str:
    """Return ``0.1.0 (8b026c9a0b1c)``, or only the version where it tells the commit."""
    name, of = version(), commit()
    return f"{name} ({of})" if of and of.partition("-")[0][:7] not in name else name


def _git(*arguments: str) -> str:
    argv = ["git", "-C", str(ROOT), *arguments]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _of_sdist() -> str:
    try:
        lines = (ROOT / "PKG-INFO").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    found = [line.partition(":")[2].strip() for line in lines if line.startswith("Version:")]
    return found[0] if found else ""
