"""docs/fingerprints.md, the page on how well fingerprints name a seeded bug."""

from __future__ import annotations

from qbdcheck.files import ROOT
from qbdcheck.report import fingerprints
from qbdcheck.report.fingerprints import Outcome, Sample
from tools.docs import fingerprints as page

STALE, SIZE = Outcome("fail", ("stale",), "write"), Outcome("fail", ("size",), "resize")


def test_the_page_is_up_to_date() -> None:
    written = (ROOT / "docs" / "fingerprints.md").read_text(encoding="utf-8")
    assert written == page.text(fingerprints.read()), (
        "docs/fingerprints.md is out of date: run tools/docs/fingerprints.py"
    )


def test_each_sample_is_left_out_once_and_mistakes_are_counted() -> None:
    samples = [
        Sample("phantom-write", "stale", 1, cases={"001": STALE, "002": STALE}),
        Sample("phantom-write", "stale", 2, cases={"001": STALE, "002": STALE}),
        Sample("size-rounded-up", "sizes", 1, cases={"003": SIZE}),
        # The other sample of this bug does not resemble it; phantom-write does.
        Sample("size-rounded-up", "sizes", 2, cases={"001": STALE, "003": Outcome()}),
        Sample("negative-size", "sizes", 1, cases={"003": SIZE}),
        Sample("control-plain", "controls", 1, cases={"001": STALE}, control=True),
    ]
    trials = page.trials_of(samples)
    assert [(one.sample.id, one.is_first, one.is_right_group) for one in trials] == [
        ("phantom-write", True, True),
        ("phantom-write", True, True),
        ("size-rounded-up", False, True),  # negative-size has the same failure
        ("size-rounded-up", False, False),
    ]
    text = page.text(samples)
    assert "the first is of the right group in 3 of 4 (75 %)" in text
    assert "| `size-rounded-up` | 2 | `phantom-write` (" in text
    assert "Measured: 6 samples of 3 of " in text
