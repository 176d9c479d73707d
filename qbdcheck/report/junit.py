"""JUnit XML, as Jenkins, GitLab and others read it: one ``testsuite`` for each image format.

There is no standard; this follows the elements that all readers share (testsuites, testsuite,
properties, testcase, failure, error, skipped, system-out). FAIL is ``failure``, BROKEN is
``error``, NOT_RUN is ``skipped`` with all reasons as its message. The name of a suite depends only
on the target and the format, so that a server can compare runs.
"""

from __future__ import annotations

import datetime
import json
import platform
import re
import xml.etree.ElementTree as ET
from pathlib import Path

from qbdcheck.report.at_end import AtEnd
from qbdcheck.report.cause import cause_of_case
from qbdcheck.report.encode import damage_words, plain
from qbdcheck.report.events import CaseEnded, CaseRetried
from qbdcheck.report.redact import Redaction, redaction_for
from qbdcheck.report.tally import Tally
from qbdcheck.verdict import Verdict

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 section 2.2 does not allow, not even escaped."""


_FINDINGS = 10
"""Findings of a case that are in the document; the JSON reports have more."""


class JUnit(AtEnd):
    """One document for a run."""

    def text(self, tally: Tally) -> str:
        """Return the document."""
        root = junit_element(tally)
        ET.indent(root)
        text = ET.tostring(root, encoding="unicode")
        return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'


def junit_element(tally: Tally) -> ET.Element:
    """Return the document of a run."""
    run = tally.run
    redaction = redaction_for(run.environment if run else {})
    root = ET.Element("testsuites", {"name": "qbdcheck", **_sums(tally.cases)})
    for image_format in dict.fromkeys(case.image_format for case in tally.cases):
        cases = [case for case in tally.cases if case.image_format == image_format]
        suite = ET.SubElement(root, "testsuite", {**_sums(cases), "hostname": platform.node()})
        suite.set("name", f"{run.target if run else 'unknown'}.{image_format}")
        if run is not None:
            started = datetime.datetime.fromtimestamp(run.started_s, datetime.UTC)
            suite.set("timestamp", started.replace(tzinfo=None).isoformat(timespec="seconds"))
            properties = {"run_id": run.run_id, "seed": str(run.seed), **run.environment}
            block = ET.SubElement(suite, "properties")
            for name, value in properties.items():
                ET.SubElement(block, "property", name=name, value=_xml(value, redaction))
        for case in cases:
            suite.append(_case_element(case, redaction, tally.retried(case)))
    return root


def _sums(cases: list[CaseEnded]) -> dict[str, str]:
    def count(verdict: Verdict) -> str:
        return str(sum(case.verdict is verdict for case in cases))

    return {
        "tests": str(len(cases)),
        "failures": count(Verdict.FAIL),
        "errors": count(Verdict.BROKEN),
        "skipped": str(int(count(Verdict.NOT_RUN)) + int(count(Verdict.KNOWN))),
        "time": f"{sum(case.elapsed_s for case in cases):.3f}",
    }


def _case_element(case: CaseEnded, redaction: Redaction, retried: CaseRetried | None) -> ET.Element:
    suite = Path(case.path).parent.name or "suites"
    element = ET.Element(
        "testcase",
        classname=f"{suite}.{case.image_format}",
        name=case.case_id,
        time=f"{case.elapsed_s:.3f}",
    )
    if case.findings or case.basis:
        _add_properties(element, case, redaction)
    if case.verdict in (Verdict.NOT_RUN, Verdict.KNOWN):
        ET.SubElement(element, "skipped", message=_xml("; ".join(case.reasons), redaction))
    elif case.verdict.is_bad:
        tag = "failure" if case.verdict is Verdict.FAIL else "error"
        cause = _xml(cause_of_case(case), redaction)
        bad = ET.SubElement(
            element, tag, message=cause, type="starved" if case.starved else case.verdict.value
        )
        bad.text = _xml(case.details or case.message, redaction)
    notes = _notes(case)
    if retried is not None and case.verdict.is_bad:
        notes.append(f"again, alone: failed {retried.rate}")
    if notes:
        ET.SubElement(element, "system-out").text = _xml("\n".join(notes), redaction)
    return element


def _add_properties(element: ET.Element, case: CaseEnded, redaction: Redaction) -> None:
    """Add properties: each ``basis``, ``damage`` with all kinds, each ``finding`` in JSON."""
    block = ET.SubElement(element, "properties")
    for one in case.basis:
        ET.SubElement(block, "property", name="basis", value=one)
    if not case.findings:
        return
    ET.SubElement(block, "property", name="damage", value=", ".join(damage_words(case)))
    for finding in case.findings[:_FINDINGS]:
        members = json.dumps(plain(finding, redaction), ensure_ascii=False)
        ET.SubElement(block, "property", name="finding", value=_NOT_XML.sub("?", members))


def _notes(case: CaseEnded) -> list[str]:
    notes = [f"part not run: {part}" for part in case.partly_not_run]
    notes += [f"waived: {one}" for one in case.waived]
    if case.first_try is not None:
        notes.append(f"second try, alone; the first was {case.first_try.message}")
    notes += [f"test {one.name}: {one.outcome}, {one.elapsed_s:.1f} s" for one in case.tests]
    if case.verdict.is_bad:
        notes += [f"again: {case.rerun}"] if case.rerun else []
        notes += [f"file: {path}" for path in case.artefacts]
        notes += [f"[[ATTACHMENT|{path}]]" for path in _attachments(case)]
    return notes


def _attachments(case: CaseEnded) -> list[str]:
    """Return the files of a case below the working directory, relative to it.

    Jenkins (plugin JUnit Attachments) and GitLab look for them from the directory of the job.
    """
    here = Path.cwd()
    paths = [Path(path) for path in case.artefacts]
    return [str(path.relative_to(here)) for path in paths if path.is_relative_to(here)]


def _xml(text: str, redaction: Redaction) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", redaction.text(text))
