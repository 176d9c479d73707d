"""What the failures of a run look like: the seeded bugs with similar fingerprints."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from mutants.catalogue import catalogue
from qbdcheck.errors import UsageError
from qbdcheck.files import ROOT
from qbdcheck.report import fingerprints
from qbdcheck.report.events import CaseEnded, LooksLike
from qbdcheck.report.fingerprints import FORMAT, Fingerprints, Outcome
from qbdcheck.report.symptoms import symptoms_of
from qbdcheck.verdict import Verdict

BUGS = ROOT / "docs" / "bugs.md"
_REFERENCE = re.compile(r"\s*\(docs/bugs\.md[^)]*\)|docs/bugs\.md,? ?[A-Z]?\d*(?: \([^)]*\))?")
_ROW = re.compile(r"^\| `([\w-]+)` \| .*? \| ([^|]*) \|$", re.MULTILINE)


def looks_like(cases: Iterable[CaseEnded]) -> tuple[LooksLike, ...]:
    """Return the seeded bugs that fail like a run, the most similar first; () if none does.

    A run without fingerprints, such as one of an installation without them, looks like nothing.
    """
    try:
        known = Fingerprints(fingerprints.read())
    except UsageError:
        return ()
    texts, real = catalogue(), seen_in()
    return tuple(
        LooksLike(
            id=one.id,
            score=round(one.score, 4),
            breaks=texts[one.id].breaks,
            seen_in=_real_cases(texts[one.id].source, real.get(one.id, "")),
            cases=one.shared,
            explained=round(one.explained, 4),
        )
        for one in known.looks_like(outcomes_of(cases))
        if one.id in texts
    )


def outcomes_of(cases: Iterable[CaseEnded]) -> dict[str, Outcome]:
    """Return what each case showed; of several repetitions, the first one that failed."""
    found: dict[str, Outcome] = {}
    for case in cases:
        number = f"{case.number:03d}"
        is_known = number in found and found[number].is_bad
        if case.image_format != FORMAT or case.verdict is Verdict.NOT_RUN or is_known:
            continue
        if case.verdict is Verdict.PASS:
            found[number] = Outcome(seconds=case.elapsed_s)
            continue
        shows = symptoms_of(case.message, case.details, case.findings, case.groups)
        verdict = case.verdict.name.lower()
        found[number] = Outcome(verdict, shows.damage, shows.shape, case.elapsed_s)
    return found


def _real_cases(source: str, listed: str) -> str:
    """Return where a bug was real: the source of the mutant, and the row of docs/bugs.md."""
    own = _REFERENCE.sub("", source).strip(" ,;")
    rows = [row.strip() for row in listed.split(";") if row.strip() and row.strip() not in own]
    if listed.strip() and not re.search(r"\d", own):  # it names no commit, issue or year
        own = ""
    return "; ".join([*filter(None, [own]), *rows])


def seen_in() -> Mapping[str, str]:
    """Return where each kind of bug was real, by its id, as in the tables of docs/bugs.md."""
    try:
        return dict(_ROW.findall(BUGS.read_text(encoding="utf-8")))
    except OSError:
        return {}
