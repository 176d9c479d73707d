"""Errors of the rule language.

RuleError
├── RuleSyntaxError     a file is wrong: names file, line, key and what is allowed
├── KeyProblem          a key or its value is wrong; a reader of files adds the line
└── NotExpressible      a rule is right, but the chosen form cannot express it
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_NEAR = 0.7
"""Likeness (0 to 1) of two keys from which one may be meant by the other."""


class RuleError(Exception):
    """Base class of the errors of this package."""


class RuleSyntaxError(RuleError, ValueError):
    """A rules file is wrong.

    :param source: name of the file, or of a text without a file.
    :param line: line number from 1, or 0 if it is unknown.
    :param message: what is wrong and what is allowed.
    """

    def __init__(self, source: str, line: int, message: str) -> None:
        where = f"{source}:{line}" if line else source
        super().__init__(f"{where}: {message}")
        self.source = source
        self.line = line


class NotExpressible(RuleError):  # noqa: N818  # reads as a sentence where it is raised
    """The chosen form cannot express a rule; the message says which rule and why."""


class KeyProblem(RuleError, ValueError):  # noqa: N818  # where, not what: a reader adds the line
    """A key of a rule or its value is wrong; ``key`` is "" for the rule as a whole."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(f"{key}: {message}" if key else message)
        self.key = key


def meant(key: str, known: Iterable[str]) -> str:
    """Return which key a mistyped one was meant to be: ``, did you mean once?``; "" if unknown."""
    near = difflib.get_close_matches(key, list(known), n=1, cutoff=_NEAR)
    return f", did you mean {near[0]}?" if near else ""
