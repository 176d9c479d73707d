"""The cases of plain pytest, in the reports of pytest and of its plugins.

A case runs in a lane, not in pytest's own loop. When it has ended, its item goes through pytest's
protocol of a test once, with a body that only repeats the verdict. So the terminal, the option
--junit-xml, pytest-xdist, pytest-html, allure-pytest and others see an ordinary test, with

- properties (``user_properties``): the seed, the command that runs the case again, the kinds of
  damage, and each finding as JSON;
- attachments, if pytest-html or allure-pytest makes a report: the findings, and the kept files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from _pytest.runner import runtestprotocol  # the only way: pytest has no public name for it

from qbdcheck.report.encode import damage_words, plain
from qbdcheck.report.events import CaseEnded, Event
from qbdcheck.report.redact import redaction_for
from qbdcheck.verdict import Verdict

ENDED = pytest.StashKey[CaseEnded]()
"""``item.stash[ENDED]``: how the case of the item ended."""
_ATTACHED_BYTES = 1 << 20


class CaseFailedError(AssertionError):
    """The case failed; a plugin takes it for a failed assertion."""


class CaseBrokenError(Exception):
    """The case proved nothing; a plugin takes it for an error of the test itself."""


class PytestReports:
    """Turns the end of each case into the reports of pytest."""

    def __init__(self, items: Mapping[tuple[str, str], pytest.Item]) -> None:
        self._items = items

    def handle(self, event: Event) -> None:
        """Report a case that has ended."""
        if isinstance(event, CaseEnded):
            item = self._items[event.case_id, event.image_format]
            item.stash[ENDED] = event
            item.ihook.pytest_runtest_protocol(item=item, nextitem=None)

    def tick(self) -> None:
        """Do nothing: pytest redraws its own output."""

    def close(self) -> None:
        """Do nothing: pytest writes its own reports."""


class Endings:
    """Only stores how each case ended; the caller is inside the protocol of its item already."""

    def __init__(self, items: Mapping[tuple[str, str], pytest.Item]) -> None:
        self._items = items

    def handle(self, event: Event) -> None:
        """Store the end of a case."""
        if isinstance(event, CaseEnded):
            self._items[event.case_id, event.image_format].stash[ENDED] = event

    def tick(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def repeat_verdict(item: pytest.Item) -> None:
    """Send an item whose case has ended through the hooks of a test."""
    ended = item.stash[ENDED]
    item.user_properties.extend(_properties(ended))
    _send_through_hooks(item, lambda: _body(item, ended), _text(ended))


def report_error(item: pytest.Item, error: str) -> None:
    """Report that a case could not be started."""

    def fail() -> None:
        raise CaseBrokenError(error)

    _send_through_hooks(item, fail, error)


def _send_through_hooks(item: pytest.Item, body: Callable[[], None], failure: str) -> None:
    # The fixtures and the body belong to the child that ran the case.
    item.setup = _nothing  # type: ignore[method-assign]
    item.runtest = body  # type: ignore[method-assign]
    item.repr_failure = lambda *_args, **_kwargs: failure  # type: ignore[method-assign]
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    runtestprotocol(item, nextitem=None)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)


def complete(item: pytest.Item, report: pytest.TestReport) -> None:
    """Give the report of a case its true duration, and the attachments of pytest-html."""
    ended = item.stash.get(ENDED, None)
    if ended is None or report.when != "call":
        return
    report.duration = ended.elapsed_s
    report.stop = report.start + ended.elapsed_s
    if ended.verdict in (Verdict.NOT_RUN, Verdict.KNOWN):
        report.longrepr = (str(item.path), item.location[1] or 0, "; ".join(ended.reasons))
    if item.config.getoption("htmlpath", None):
        from pytest_html import extras

        found: list[Any] = getattr(report, "extras", [])
        found += [extras.text(text, name=name) for name, text in _attachments(ended)]
        report.extras = found  # type: ignore[attr-defined]


def _nothing() -> None:
    """Set up nothing."""


def _body(item: pytest.Item, ended: CaseEnded) -> None:
    if item.config.getoption("allure_report_dir", None):
        import allure

        for name, text in _attachments(ended):
            allure.attach(text, name=name, attachment_type=allure.attachment_type.TEXT)
    if ended.verdict in (Verdict.NOT_RUN, Verdict.KNOWN):
        pytest.skip("; ".join(ended.reasons))
    if ended.verdict.is_bad:
        kind = CaseBrokenError if ended.verdict is Verdict.BROKEN else CaseFailedError
        raise kind(ended.message)


def _text(ended: CaseEnded) -> str:
    verdict = "BROKEN: " if ended.verdict is Verdict.BROKEN else ""
    return f"{verdict}{ended.message}\n{ended.details}\nagain: {ended.rerun}"


def _properties(ended: CaseEnded) -> list[tuple[str, object]]:
    properties: list[tuple[str, object]] = [("seed", str(ended.seed))]
    if ended.verdict.is_bad and ended.rerun:
        properties.append(("again", ended.rerun))
    if ended.findings:
        properties.append(("damage", ", ".join(damage_words(ended))))
        properties += [("finding", text) for text in _findings(ended)]
    return properties


def _findings(ended: CaseEnded) -> list[str]:
    redaction = redaction_for({})
    return [json.dumps(plain(one, redaction), ensure_ascii=False) for one in ended.findings]


def _attachments(ended: CaseEnded) -> list[tuple[str, str]]:
    """Return the name and the text of each attachment: the findings, and the kept files."""
    attachments = []
    if ended.findings:
        attachments.append(("damage", "\n".join([one.line for one in ended.findings])))
        attachments.append(("findings.json", f"[{','.join(_findings(ended))}]"))
    for path in map(Path, ended.artefacts):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                content = file.read(_ATTACHED_BYTES)
            attachments.append((path.name, content.decode("utf-8", "backslashreplace")))
    return attachments
