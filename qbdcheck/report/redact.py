"""Remove private paths and secrets from a report.

Reports leave the machine: CI servers keep JUnit files, people paste JSON into bug trackers. So
the user's home directory becomes ``~``, the run's scratch directory ``SCRATCH``, and what follows a
word like password becomes ``***``. The terminal shows real paths: its reader wants to open them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_SECRET_VALUE = re.compile(
    r"""(?ix) (\b [\w.-]* (?: password | passwd | passphrase | secret | token ) [\w-]* ["']? \s*
        [=:] \s* ["']? ) [^\s"',;&}]+ """
)
_USER_INFO = re.compile(r"(\w://[^/\s:@]+):[^/\s@]+@")


@dataclass(frozen=True)
class Redaction:
    """Removes two directories and likely secrets from texts.

    ``home`` and ``scratch`` are absolute paths; an empty string or ``/`` replaces nothing.
    """

    home: str = ""
    scratch: str = ""

    def text(self, text: str) -> str:
        """Return `text` without the two directories, passwords and user information of URIs."""
        for directory, word in ((self.scratch, "SCRATCH"), (self.home, "~")):
            if len(directory.rstrip("/")) > 1:
                text = re.sub(re.escape(directory.rstrip("/")) + r"(?=/|\W|$)", word, text)
        text = _USER_INFO.sub(r"\1:***@", text)
        return _SECRET_VALUE.sub(r"\1***", text)


def redaction_for(environment: dict[str, str]) -> Redaction:
    """Return the redaction of a run; the environment has its scratch directory."""
    try:
        home = str(Path.home())
    except RuntimeError:  # no HOME and no entry in the password file, as in some containers
        home = ""
    return Redaction(home=home, scratch=environment.get("scratch", "").partition(" ")[0])
