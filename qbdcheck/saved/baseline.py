"""Known failures of a backend: which case, in which image format, with which kind of damage.

A failure that a baseline lists counts as known. Another kind of damage in the same case is a
failure, and so is a case that passes although it is listed: its entry must go. A text alone never
makes a failure known where an oracle has named the damage.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from oracles.damage import Damage
from oracles.finding import Finding
from qbdcheck.errors import UsageError
from qbdcheck.files import why_unreadable, write_atomically

_HEADER = """\
# Known failures of this backend, for ./check --baseline. --update-baseline writes this file again,
# and keeps "since", "why" and "sometimes". A failure is known if its case, format and kind of
# damage are listed. Without damage, the text of the cause must be equal, apart from numbers.
# "why" is free text. "sometimes: true" says that the case may pass, too.
"""
_NUMBERS = re.compile(r"0x[0-9a-f]+|\d+", re.IGNORECASE)
_KEYS = {"case": str, "format": str, "damage": list, "cause": str, "since": str, "why": str,
         "sometimes": bool}  # fmt: skip
_MUST = ("case", "cause")


@dataclass(frozen=True)
class Known:
    """An entry: the failures of a case under one image format.

    ``damage`` has the kinds of damage; if it is empty, ``cause`` must be equal apart from numbers.
    """

    case: str
    image_format: str
    damage: tuple[str, ...]
    cause: str
    since: str = ""
    why: str = ""
    sometimes: bool = False

    @property
    def words(self) -> str:
        """The reason that reports show."""
        since = f" since {self.since}" if self.since else ""
        return f"known failure{since}: {self.why or self.cause}"

    def covers(self, kinds: Collection[str], cause: str) -> bool:
        """Return whether a failure with these kinds of damage, or else this cause, is known."""
        if kinds:
            return set(kinds) <= set(self.damage)
        return not self.damage and pattern_of(cause) == pattern_of(self.cause)


@dataclass
class Baseline:
    """The known failures of one target, and the failures of the run that uses them.

    :ivar path: the file; it need not exist if it is to be updated.
    """

    path: Path
    target: str
    known: list[Known] = field(default_factory=list)
    _failed: dict[tuple[str, str], Known] = field(default_factory=dict)
    _passed: set[tuple[str, str]] = field(default_factory=set)

    def of(self, case_id: str, image_format: str) -> list[Known]:
        """Return the entries of a case."""
        key = (case_id, image_format)
        return [one for one in self.known if (one.case, one.image_format) == key]

    def failed(
        self, case_id: str, image_format: str, findings: Sequence[Finding], cause: str
    ) -> Known | None:
        """Record a failure; return the entry by which it is known, or None."""
        kinds = kinds_of(findings)
        key = (case_id, image_format)
        entries = self.of(*key)
        found = next((one for one in entries if one.covers(kinds, cause)), None)
        before = self._failed.get(key)
        fresh = found or Known(*key, tuple(kinds), cause)
        if before is not None and before != fresh:
            together = dict.fromkeys((*before.damage, *fresh.damage))
            fresh = replace(before, damage=tuple(together))
        self._failed[key] = fresh
        return found

    def passed(self, case_id: str, image_format: str) -> Known | None:
        """Record a pass; return the entry that is wrong then, or None."""
        self._passed.add((case_id, image_format))
        return next((one for one in self.of(case_id, image_format) if not one.sometimes), None)

    def updated(self, today: str) -> tuple[Baseline, int, int]:
        """Return the baseline after the run, the number of its new entries and of those removed.

        Entries of cases that did not run stay.

        :param today: the date of new entries, YYYY-MM-DD.
        """
        ended = self._passed | set(self._failed)
        kept = [
            one
            for one in self.known
            if (one.case, one.image_format) not in ended
            or (one.sometimes and (one.case, one.image_format) not in self._failed)
        ]
        failed = [one if one in self.known else replace(one, since=today)
                  for one in self._failed.values()]  # fmt: skip
        made = sorted(kept + failed, key=lambda one: (one.case, one.image_format))
        new = sum(one not in self.known for one in made)
        gone = sum(one not in made for one in self.known)
        return Baseline(self.path, self.target, made), new, gone

    def write(self) -> None:
        """Write the file, in JSON if it is named .json, else in YAML.

        :raise UsageError: it cannot be written.
        """
        content = {"target": self.target, "known": [_plain(one) for one in self.known]}
        if self.path.suffix == ".json":
            text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        else:
            dumped = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
            text = _HEADER + dumped
        try:
            write_atomically(self.path, text)
        except OSError as error:
            raise UsageError(f"--baseline {self.path}: {error.strerror}") from None


def kinds_of(findings: Sequence[Finding]) -> list[str]:
    """Return the kinds of damage, each once."""
    return list(dict.fromkeys(finding.damage.value for finding in findings))


def pattern_of(cause: str) -> str:
    """Return a cause without its numbers, which differ from run to run."""
    return _NUMBERS.sub("N", cause)


def load(path: Path, target: str, known_cases: Collection[str], may_miss: bool) -> Baseline:
    """Return the baseline in a YAML or JSON file.

    :param known_cases: the ids of all cases; an entry of another one is an error.
    :param may_miss: a file that does not exist is an empty baseline.
    :raise UsageError: the file cannot be read, or is of another target; names the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if may_miss:
            return Baseline(path, target)
        raise UsageError(f"--baseline {path}: no such file; --update-baseline creates it") from None
    except (OSError, UnicodeError) as error:
        raise UsageError(f"--baseline {path}: {why_unreadable(error)}") from None
    try:
        content, lines = yaml.safe_load(text), _lines_of(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict) or not isinstance(content.get("known"), list):
        raise UsageError(f"{path}: must have the keys target and known, a list of failures")
    if content.get("target") != target:
        raise UsageError(
            f"{path}: is the baseline of the target {content.get('target')}, not of {target}"
        )
    entries = [
        _entry(one, f"{path}:{line}", known_cases)
        for one, line in zip(content["known"], lines, strict=True)
    ]
    return Baseline(path, target, entries)


def _lines_of(text: str) -> list[int]:
    """Return the lines on which the entries start, from 1."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    for key, value in root.value if isinstance(root, yaml.MappingNode) else ():
        if key.value == "known" and isinstance(value, yaml.SequenceNode):
            return [one.start_mark.line + 1 for one in value.value]
    return []


def _entry(members: Any, where: str, known_cases: Collection[str]) -> Known:
    if not isinstance(members, Mapping):
        raise UsageError(f"{where}: an entry has the keys {', '.join(_KEYS)}")
    values = dict(members)
    values["since"] = str(values.get("since") or "")  # YAML reads a date as a date
    for key, value in values.items():
        if key not in _KEYS:
            raise UsageError(f"{where}: unknown key {key!r}; known: {', '.join(_KEYS)}")
        if not isinstance(value, _KEYS[key]):
            raise UsageError(f"{where}: {key} must be a {_KEYS[key].__name__}, not {value!r}")
    if missing := [key for key in _MUST if not values.get(key)]:
        raise UsageError(f"{where}: {missing[0]} is missing")
    if values["case"] not in known_cases:
        raise UsageError(f"{where}: there is no case {values['case']!r}; write its whole id")
    kinds = [one.value for one in Damage]
    if wrong := [one for one in values.get("damage", ()) if one not in kinds]:
        raise UsageError(f"{where}: unknown damage {wrong[0]!r}; known: {', '.join(kinds)}")
    return Known(
        values["case"],
        values.get("format", "raw"),
        tuple(values.get("damage", ())),
        values["cause"],
        values["since"],
        values.get("why", ""),
        values.get("sometimes", False),
    )


def _plain(known: Known) -> dict[str, object]:
    made: dict[str, object] = {"case": known.case, "format": known.image_format}
    if known.damage:
        made["damage"] = list(known.damage)
    made |= {"cause": known.cause, "since": known.since, "why": known.why}
    return made | ({"sometimes": True} if known.sometimes else {})
