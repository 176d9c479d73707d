"""The page in a real browser: headless Chromium, without network; nothing may go wrong in it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from oracles.damage import Damage
from oracles.finding import SECTOR
from oracles.shadow import NotPermitted, Shadow
from oracles.stamps import Identity
from qbdcheck.report.events import CaseEnded, RunEnded
from qbdcheck.report.html import page
from qbdcheck.report.tally import Tally
from qbdcheck.verdict import Verdict

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
)
HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
PROBE = """
<script>
addEventListener("error", (event) => { document.title = "error: " + event.message; });
</script>
"""
REPORT = """
<pre id="seen"></pre>
<script>
{
  const wide = [...document.querySelectorAll("body *")].filter((one) =>
    !one.closest(".scroll, pre, svg.map, details:not([open])") &&
    one.getBoundingClientRect().right > innerWidth + 1);
  const pick = (id, value) => {
    const field = document.getElementById(id);
    field.value = value;
    field.dispatchEvent(new Event(field.tagName === "SELECT" ? "change" : "input"));
  };
  const rows = () => [...document.querySelectorAll("#cases > tbody > tr")]
    .filter((row) => row.offsetParent !== null)
    .map((row) => row.querySelector("td").textContent.trim());
  const all = rows();
  pick("by-group", "crash");
  const crash = rows();
  pick("by-group", "");
  pick("by-time", "2");
  const long = rows();
  pick("by-time", "");
  pick("by-order", "time");
  const order = rows();
  document.getElementById("show-pass").click();
  const bad = rows();
  document.getElementById("seen").textContent = JSON.stringify({
    title: document.title, wide: wide.map((one) => one.outerHTML.slice(0, 200)),
    marks: document.querySelectorAll("svg.life .mark").length,
    drawn: document.querySelector("svg.life").getBoundingClientRect().height,
    all, crash, long, order, bad,
  });
}
</script>
"""


def failed(runs: ModuleType, number: int, **fields: object) -> CaseEnded:
    shadow = Shadow(64 * SECTOR, Identity(1, 2))
    shadow.history.clock = lambda: 1.0
    shadow.prefill()
    shadow.flush()
    old = shadow.expected(5 * SECTOR, SECTOR)
    shadow.history.lane = f"qemu-io {HOSTILE}"
    shadow.write(5 * SECTOR, shadow.stamped(5 * SECTOR, SECTOR))
    shadow.flush()
    shadow.power_cut()
    shadow.history.note("read", 5 * SECTOR, SECTOR)
    with pytest.raises(NotPermitted) as caught:
        shadow.settle(5 * SECTOR, old)
    values = {"message": HOSTILE, "details": HOSTILE, "findings": tuple(caught.value.findings)}
    case: CaseEnded = runs.ended(number, Verdict.FAIL, **{**values, **fields})
    return case


def tally_of(runs: ModuleType, *cases: CaseEnded) -> Tally:
    run = replace(runs.STARTED, target=HOSTILE, selected=len(cases))
    return Tally(run=run, end=RunEnded(1.0, {}, 1), cases=list(cases))


def chromium(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory(prefix="qbdcheck-chromium-") as profile:
        return subprocess.run(
            [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", *arguments, path.as_uri()],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )


def test_the_page_works_in_a_browser_and_fits_a_phone(tmp_path: Path, runs: ModuleType) -> None:
    cases = [
        failed(runs, 1, groups=("crash",), elapsed_s=3.0),
        runs.ended(2, Verdict.PASS, elapsed_s=0.5),
        runs.ended(3, Verdict.PASS, elapsed_s=2.5, groups=("crash", "rw")),
    ]
    text = page(tally_of(runs, *cases))
    assert "http" not in text.replace("http-equiv", "")
    path = tmp_path / "run.html"
    path.write_text(text.replace("<style>", PROBE + "<style>", 1) + REPORT)
    done = chromium(path, "--window-size=500,900", "--dump-dom")
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert console == []
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found
    seen = json.loads(found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    assert seen["title"].startswith("qbdcheck: <script>"), seen["title"]  # text, not run
    assert seen["wide"] == []
    assert seen["marks"] == 6
    assert seen["drawn"] > 80
    assert seen["all"] == ["001", "002", "003"]
    assert seen["crash"] == ["001", "003"]
    assert seen["long"] == ["001", "003"]
    assert seen["order"] == ["001", "003", "002"]
    assert seen["bad"] == ["001"]


def test_without_javascript_the_essentials_are_there(runs: ModuleType) -> None:
    text = page(tally_of(runs, failed(runs, 1)))
    bare = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    for essential in (
        "The life of sector 5",
        "the flush between did not make it durable",
        'class="mark flush culprit"',
        "qbdcheck script: 1",
        "All 6 events",
    ):
        assert essential in bare
    assert "owned'</script>" not in bare


def test_a_page_of_hundreds_of_failures_stays_small(tmp_path: Path, runs: ModuleType) -> None:
    log = tmp_path / "full.log"
    log.write_text("line of a log\n" * 5000)
    one = failed(runs, 1, artefacts=(str(log),), details="E   error\n" * 20_000)
    finding = one.findings[0]
    life = finding.life[:1] + finding.life[2:3] * 200 + finding.life
    many = tuple(replace(finding, offset=n * SECTOR, life=life) for n in range(100))
    cases = [
        replace(one, number=n, case_id=f"{n:03d}_x", findings=many, rerun=f"./check {n}")
        for n in range(500)
    ]
    text = page(tally_of(runs, *cases))
    assert len(text.encode()) < 5 << 20
    assert "500 of 500 cases failed" in text
    assert re.search(r"4[4-9]\d further failures, without details", text)
    assert "./check 499" in text
    assert finding.damage is Damage.NEVER_WRITTEN
