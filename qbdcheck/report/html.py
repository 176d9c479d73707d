"""HTML report: one page that needs no further file, written when the run ends."""

from __future__ import annotations

import base64
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from oracles.displacement import summary
from oracles.finding import Finding
from oracles.resizes import resized
from qbdcheck.bootstrap.version import version
from qbdcheck.catalogue.capability_words import CAPABILITIES
from qbdcheck.catalogue.policies import POLICIES
from qbdcheck.files import COMMAND, ROOT
from qbdcheck.report.at_end import AtEnd
from qbdcheck.report.cause import cause_of_case
from qbdcheck.report.events import CaseEnded, CaseExperiment, RunEnded, RunStarted
from qbdcheck.report.lines import second_try, sentence_of, test_lines
from qbdcheck.report.page_bytes import chars_of, comparison, hex_of
from qbdcheck.report.page_case import guarded, related
from qbdcheck.report.page_causes import causes, main_finding, reasons_not_run
from qbdcheck.report.page_damage import colour, hint, letter, meaning_of, second_reads
from qbdcheck.report.page_details import split_details
from qbdcheck.report.page_life import LEGEND, life_of
from qbdcheck.report.page_map import home_of, volume_map
from qbdcheck.report.page_place import damage_shape, found_by, request_shapes, requests_there
from qbdcheck.report.page_reply import extents_of, head_of, received
from qbdcheck.report.page_reply import parts_of as chunks_of
from qbdcheck.report.page_script import script_of, why_no_script
from qbdcheck.report.page_surroundings import status_story
from qbdcheck.report.page_verdict import verdict_of
from qbdcheck.report.page_words import named, parts_of, request_in_words, text_of
from qbdcheck.report.redact import Redaction, redaction_for
from qbdcheck.report.tally import Tally
from qbdcheck.verdict import Verdict

_TEXT_BYTES = 256 << 10
"""Of each timeline its end, up to this."""
_LOG_BYTES = 16 << 10
"""Of each log its end, up to this."""
_LOGS = (".log", ".out", ".err", ".bad", ".txt")
_PICTURE_BYTES = 2 << 20
"""Larger pictures are named, not shown."""
_ATTACHED_BYTES = 2 << 20
"""Of all logs, timelines and pictures together: the page can be sent by mail."""
_DETAILED = 60
"""Failures that the page shows in full, at most; it lists the others."""
_PAGE_LENGTH = 4 << 20
"""A page with more characters than this shows fewer failures in full."""
_DETAILS = 8 << 10
"""Characters that are shown of each end of a failure's text."""
_WIRE = ("sent: ", "answered: ", "received")
_CHUNK = "chunk "
"""Begin the lines of a finding's evidence that are messages of the connection."""
_NOTES = 3
"""More lines of evidence than these are in the table only."""
_COMPARED = 6
"""Findings of a case whose bytes are shown."""
_VERDICTS = 30
"""Failures whose verdict is at the top of the page."""
_OPEN = 3
"""Of more failures than these, only the first one of each cause is unfolded."""
_TONES = {
    "pass": "pass",
    "fail": "fail",
    "timed out": "fail",
    "broken": "broken",
    "warn": "broken",
    "conf": "not_run",
}
"""Of how a test in a guest ended: the class that gives its colour."""
TIMELINE = ".timeline.txt"
"""Ends the names of files with the timeline of a guest."""


@dataclass(frozen=True)
class _Attached:
    """A file of a case that the page shows: a text, or a picture as a data: URI."""

    name: str
    text: str = ""
    picture: str = ""

    @property
    def is_timeline(self) -> bool:
        """Whether it is the timeline of a guest."""
        return self.name.endswith(TIMELINE)


class Html(AtEnd):
    """Verdict, causes and facts, every failure in detail, and a table of all cases.

    Timelines of guests, ends of logs, and SVG pictures that cases left are in the page.
    """

    def text(self, tally: Tally) -> str:
        """Return the page."""
        return page(tally, command_line())


def clusters_of(end: RunEnded | None) -> list[dict[str, Any]]:
    """Return the causes of a run in the form that `page` takes; the likely bugs go to the first."""
    if end is None:
        return []
    alike = [f"{one.id} (similarity {one.score:.2f}): {one.breaks}" for one in end.looks_like]
    return [
        {
            "title": cause.title,
            "share": round(100 * cause.share),
            "cases": cause.cases,
            "example": cause.example,
            "script": cause.script,
            "read_first": cause.read_first,
            "looks_like": () if place else alike,
        }
        for place, cause in enumerate(end.causes)
    ]


def command_line() -> str:
    """Return the command that started the run; empty if this is not a run of ./check."""
    program = Path(sys.argv[0]).absolute()
    if program not in (ROOT / "check", ROOT / "qbdcheck" / "__main__.py"):
        return ""
    return shlex.join([COMMAND, *sys.argv[1:]])


def page(
    tally: Tally,
    command: str = "",
    clusters: Sequence[Mapping[str, Any]] | None = None,
    links: Mapping[str, str] | None = None,
) -> str:
    """Return the page of a run, ended or not.

    :param clusters: causes that explain failures, the most important first, each with ``title`` and
        maybe ``share`` (percent), ``cases`` (ids), ``example``, ``script`` and ``looks_like`` (a
        list); None: those of the run's end. Without any the page groups the failures by their kind
        of damage alone.
    :param links: by the path of an artefact, where it is relative to the page.
    """
    detailed = _DETAILED
    clusters = clusters_of(tally.end) if clusters is None else clusters
    while True:
        text = _page(tally, command, clusters, links or {}, detailed)
        if len(text) <= _PAGE_LENGTH or detailed == 1:
            return text
        detailed = max(1, min(detailed - 1, int(0.9 * detailed * _PAGE_LENGTH / len(text))))


def _page(
    tally: Tally,
    command: str,
    clusters: Sequence[Mapping[str, Any]],
    links: Mapping[str, str],
    detailed: int,
) -> str:
    """Return the page with this number of failures in full."""
    run = tally.run
    failed = _bad_first(tally, clusters)
    leads = {one.get("read_first") for one in clusters} if len(failed) > _OPEN else set()
    budget = _Budget(_ATTACHED_BYTES)
    started = datetime.fromtimestamp(run.started_s, UTC) if run else None
    return (
        _environment(tally)
        .get_template("run.html.j2")
        .render(
            run=run,
            command=command,
            version=version(),
            started=f"{started:%Y-%m-%d %H:%M:%S} UTC" if started else "",
            end=tally.end,
            counts=tally.counts,
            executed=tally.executed,
            verdicts=[(verdict.name.lower(), verdict.value) for verdict in Verdict],
            causes=causes(tally.cases),
            reasons=reasons_not_run(tally.cases),
            clusters=clusters,
            links=links,
            anchors={
                name: f"{case.case_id}.{case.image_format}"
                for case in reversed(failed)
                for name in (case.case_id, f"{case.number:03d}")
            },
            capabilities=_capabilities(run) if run else [],
            failed=len(failed),
            verdicts_of=[_said(case, run) for case in failed[:_VERDICTS]],
            says_of={
                f"{case.number:03d}": verdict_of(case)
                for case in reversed(failed)
                if any(one.get("read_first") == f"{case.number:03d}" for one in clusters)
            },
            bad=[
                {
                    **_failure(case, budget, tally.experiment_of(case)),
                    "is_folded": leads and f"{case.number:03d}" not in leads,
                }
                for case in failed[:detailed]
            ],
            brief=[_case(case, budget) for case in failed[detailed:]],
            cases=[_case(case, budget) for case in tally.cases],
            groups=sorted({group for case in tally.cases for group in case.groups}),
            suites=list(dict.fromkeys(_suite(case) for case in tally.cases)),
            tones=_TONES,
            running=list(tally.running.values()),
            slowest=max((case.elapsed_s for case in tally.cases), default=0.0) or 1.0,
        )
    )


class _Budget:
    """The bytes that attachments of the page may have together."""

    def __init__(self, left: int) -> None:
        self._left = left

    def take(self, found: Iterable[_Attached]) -> list[_Attached]:
        """Return the attachments that fit; the others become a note that names them."""
        kept = []
        for one in found:
            size = len(one.text) + len(one.picture)
            if size > self._left:
                kept.append(_Attached(one.name, text="left out: the page would be too large"))
                continue
            self._left -= size
            kept.append(one)
        return kept


def _said(case: CaseEnded, run: RunStarted | None) -> dict[str, str]:
    """Return the line at the top of the page that says what is wrong in a failed case."""
    image_format = f"-{case.image_format}" if run and len(run.formats) > 1 else ""
    return {
        "anchor": f"{case.case_id}.{case.image_format}",
        "number": f"{case.number:03d}{image_format}",
        "says": verdict_of(case),
    }


def _capabilities(run: RunStarted) -> list[tuple[str, str, str]]:
    """Return each capability with its meaning, and ``yes``, ``no`` or ``withdrawn``."""
    if not run.capabilities:
        return []
    return [
        (
            word,
            f"the target {meaning}",
            "withdrawn" if word in run.withdrawn else "yes" if word in run.capabilities else "no",
        )
        for word, meaning in CAPABILITIES.items()
    ]


def _environment(tally: Tally) -> Environment:
    """Return the environment of the templates; every text that it prints is redacted."""
    redaction = redaction_for(tally.run.environment if tally.run else {})
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: _shown(value, redaction),
    )
    environment.filters |= {
        "in_words": request_in_words,
        "sentence": text_of,
        "parts": parts_of,
        "hex": hex_of,
        "chars": chars_of,
        "letter": letter,
        "breakable": _breakable,
    }
    return environment


def _breakable(name: str) -> Markup:
    """Return a name that a narrow page may break behind each of its underscores."""
    return Markup("_<wbr>").join(name.split("_"))


def _shown(value: object, redaction: Redaction) -> object:
    """Return what the page shows of a value: redacted, without control characters."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    text = redaction.text(value)
    return "".join(
        char if char.isprintable() or char in "\t\n" else f"\\x{ord(char):02x}" for char in text
    )


def _bad_first(tally: Tally, clusters: Sequence[Mapping[str, Any]]) -> list[CaseEnded]:
    """Return the failed cases in the order of their causes, the one to read first before others."""
    found = [case for cause in causes(tally.cases) for case in cause.cases]
    order: dict[str, int] = {}
    for one in clusters:
        for number in (one.get("read_first", ""), *one.get("cases", ())):
            order.setdefault(number, len(order))
    return sorted(found, key=lambda case: order.get(f"{case.number:03d}", len(order)))


def _suite(case: CaseEnded) -> str:
    return Path(case.path).parent.name


def _case(case: CaseEnded, budget: _Budget) -> dict[str, Any]:
    """Return what the table shows of a case."""
    words = {
        Verdict.PASS: sentence_of(case.sentence),
        Verdict.NOT_RUN: "; ".join(case.reasons),
    }
    return {
        "ended": case,
        "name": case.case_id.partition("_")[2].replace("_", " "),
        "anchor": f"{case.case_id}.{case.image_format}",
        "verdict": case.verdict.name.lower(),
        "word": case.verdict.value,
        "text": (words.get(case.verdict) or cause_of_case(case)) + second_try(case),
        "tests": " ".join(test_lines(case)),
        "attached": [] if case.verdict.is_bad else budget.take(_attached(case)),
        "suite": _suite(case),
    }


def _failure(case: CaseEnded, budget: _Budget, experiment: CaseExperiment | None) -> dict[str, Any]:
    """Return what the page shows of a failed case."""
    case = replace(case, findings=tuple(named(case.findings)))
    finding = main_finding(case)
    findings = sorted(case.findings, key=lambda found: found is not finding)
    compared = filter(None, map(comparison, findings))
    return {
        **_case(case, budget),
        "says": verdict_of(case),
        "finding": finding,
        "place": _place(case),
        "home": home_of(finding) if finding else None,
        "kinds": _kinds(case),
        "sentence": sentence_of(case.sentence),
        "guards": guarded(Path(case.path)),
        "related": related(Path(case.path)),
        "findings": [(colour(one.damage), one) for one in findings if not one.follows],
        "followers": [(colour(one.damage), one) for one in findings if one.follows],
        "displaced": summary(findings),
        "has_table": any(map(_has_row, findings)) or len(findings) > 1,
        "wrong_bytes": sum(found.length for found in findings if not found.follows),
        "map": volume_map(findings),
        "life": life_of(finding) if finding else None,
        "legend": LEGEND,
        "notes": [*status_story(finding), *_notes(finding)] if finding else [],
        "requests": requests_there(finding) if finding else [],
        "damage_shape": damage_shape(finding, findings) if finding else "",
        "shapes": list(request_shapes(finding)) if finding else [],
        "found_by": found_by(finding) if finding else "",
        "resized": resized(finding.life, *finding.place) if finding else "",
        "again": second_reads(findings),
        "plain": hint(case.message),
        "wire": list(_wire(finding)) if finding else [],
        "chunks": chunks_of(finding.evidence) if finding else (),
        "extents": extents_of(finding.evidence) if finding else (),
        "script": script_of(case.artefacts, finding, experiment),
        "no_script": why_no_script(case.artefacts, finding, experiment),
        "experiment": experiment,
        "compared": list(islice(compared, _COMPARED)),
        "details": split_details(_ends_of(case.details or case.message)),
        "basis": [_demand(one) for one in case.basis],
        "attached": budget.take([*_attached(case), *islice(_logs(case), 10)]),
    }


def _notes(finding: Finding) -> list[str]:
    """Return what else is known of wrong contents, each as a sentence."""
    known = (*_WIRE, _CHUNK, "read again")
    lines = [line for line in finding.evidence if not line.startswith(known)]
    if finding.damage.rank or len(lines) > _NOTES:
        return []
    return [f"{line[:1].upper()}{line[1:].rstrip('.')}." for line in lines]


def _wire(finding: Finding) -> Iterator[str]:
    """Yield the last messages of a connection; the head of the last one in words."""
    yield from (line for line in finding.evidence if line.startswith(_WIRE))
    if (head := head_of(received(finding.evidence))) is not None:
        yield f"this is: {head}"


def _demand(basis: str) -> tuple[str, str, str]:
    """Return a basis, and of a policy what it demands and why; both empty for a document."""
    kind, _, name = basis.partition(": ")
    policy = POLICIES.get(name) if kind == "POLICY" else None
    return (basis, policy.sentence, policy.reason) if policy else (basis, "", "")


def _kinds(case: CaseEnded) -> list[tuple[str, str, str, int]]:
    """Return the kinds of damage that a case found: colour, name, meaning, number of findings.

    What follows from another finding is no kind of its own.
    """
    first = main_finding(case)
    others = (found for found in case.findings if found is not first and not found.follows)
    ordered = [*filter(None, [first]), *others]
    counts = Counter(found.damage for found in ordered)
    meanings = {found.damage: meaning_of(found) for found in reversed(ordered)}
    return [(colour(one), one.value, meanings[one], number) for one, number in counts.items()]


def _has_row(finding: Finding) -> bool:
    """Whether a row of a table says more of a finding than its sentence."""
    evidence = [line for line in finding.evidence if not line.startswith((*_WIRE, _CHUNK))]
    return bool(finding.length or finding.expected or finding.seen or evidence)


def _place(case: CaseEnded) -> str:
    """Return the sectors of the finding that tells most; empty if it has no place."""
    finding = main_finding(case)
    if finding is None or not finding.length:
        return ""
    last = finding.sector + finding.sectors - 1
    return f"sectors {finding.sector} to {last}" if finding.sectors > 1 else f"sector {last}"


def _attached(case: CaseEnded) -> Iterator[_Attached]:
    """Yield timelines and pictures; a picture that several artefacts name comes once."""
    known = set()
    for artefact in case.artefacts:
        found = Path(artefact)
        for path in sorted(found.rglob("*.svg")) if found.is_dir() else [found]:
            if (place := path.resolve()) in known:
                continue
            known.add(place)
            try:
                if path.name.endswith(TIMELINE):
                    yield _Attached(path.name, text=_end_of(path, _TEXT_BYTES))
                elif path.suffix == ".svg" and path.stat().st_size <= _PICTURE_BYTES:
                    data = base64.b64encode(path.read_bytes()).decode("ascii")
                    yield _Attached(path.name, picture=f"data:image/svg+xml;base64,{data}")
            except OSError:
                continue  # the name of the file is in the page equal


def _logs(case: CaseEnded) -> Iterator[_Attached]:
    """Yield the ends of a case's logs, the empty ones left out."""
    for path in map(Path, case.artefacts):
        if path.suffix in _LOGS and not path.name.endswith(TIMELINE):
            try:
                text = _end_of(path, _LOG_BYTES)
            except OSError:
                continue  # the name of the file is in the page equal
            if text.strip() and "\0" not in text:  # binary data says nothing to a reader
                yield _Attached(path.name, text=text)


def _ends_of(text: str) -> str:
    """Return a text without the middle of a very long one."""
    if len(text) <= 2 * _DETAILS:
        return text
    left_out = len(text) - 2 * _DETAILS
    return f"{text[:_DETAILS]}\n... {left_out} characters left out ...\n{text[-_DETAILS:]}"


def _end_of(path: Path, limit: int) -> str:
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - limit, 0))
        return file.read(limit).decode(errors="replace")
