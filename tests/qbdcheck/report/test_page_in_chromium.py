"""The page in a real browser: headless Chromium, without network; nothing may go wrong in it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from dataclasses import replace
from html import unescape
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

NAMES = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
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
<script>
addEventListener("load", () => {
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
  parent.postMessage(JSON.stringify({
    width: innerWidth, isDark: matchMedia("(prefers-color-scheme: dark)").matches,
    weak: [".dim", ".fail", ".pass", "a", "p", "th", ".x b", "td.differs", "svg.life .mark text"]
      .flatMap((name) => [...document.querySelectorAll(name)].slice(0, 5))
      .filter((one) => one.textContent.trim() && contrast(one) < 4.5)
      .map((one) => one.outerHTML.slice(0, 100) + " " + contrast(one)),
    title: document.title, wide: wide.map((one) => one.outerHTML.slice(0, 200)),
    marks: document.querySelectorAll("svg.life .mark").length,
    drawn: document.querySelector("svg.life").getBoundingClientRect().height,
    all, crash, long, order, bad,
  }), "*");
});
// Relative luminance and contrast (WCAG 2.1, 1.4.3).
const light = (colour) => {
  const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((one) => one / 255)
    .map((one) => one <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
  return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
};
const behind = (one) => {
  const rect = one instanceof SVGElement && one.parentElement.querySelector("rect");
  if (rect) { return getComputedStyle(rect).fill; }
  for (let at = one; at; at = at.parentElement) {
    const colour = getComputedStyle(at).backgroundColor;
    if (colour !== "rgba(0, 0, 0, 0)") { return colour; }
  }
  return "rgb(255, 255, 255)";
};
const contrast = (one) => {
  const style = getComputedStyle(one);
  const two = [light(one instanceof SVGElement ? style.fill : style.color), light(behind(one))];
  return (Math.max(...two) + 0.05) / (Math.min(...two) + 0.05);
};
</script>
"""
WIDTHS = (1280, 390)
FRAMES = """<!doctype html><pre id="seen"></pre><script>
addEventListener("message", (event) => {
  document.getElementById("seen").textContent += event.data + "\\n";
});
</script>
""" + "".join(
    f'<iframe src="run.html" style="width:{width}px;height:900px"></iframe>' for width in WIDTHS
)
"""The page in frames, because a window of Chromium is at least 500 pixels wide."""


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


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_the_page_works_in_a_browser_and_fits_a_phone(
    tmp_path: Path, runs: ModuleType, scheme: str
) -> None:
    cases = [
        failed(runs, 1, groups=("crash",), elapsed_s=3.0),
        runs.ended(2, Verdict.PASS, elapsed_s=0.5),
        runs.ended(3, Verdict.PASS, elapsed_s=2.5, groups=("crash", "rw")),
    ]
    text = page(tally_of(runs, *cases))
    assert "http" not in text.replace("http-equiv", "")
    (tmp_path / "run.html").write_text(text.replace("<style>", PROBE + "<style>", 1) + REPORT)
    path = tmp_path / "frames.html"
    path.write_text(FRAMES)
    setting = f"--blink-settings=preferredColorScheme={('dark', 'light').index(scheme)}"
    done = chromium(path, "--window-size=1300,900", setting, "--dump-dom")
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert console == []
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found
    reports = [json.loads(line) for line in unescape(found[1]).splitlines()]
    assert sorted(seen["width"] for seen in reports) == sorted(WIDTHS)
    for seen in reports:
        assert seen["isDark"] == (scheme == "dark")
        assert seen["title"].startswith("qbdcheck: <script>"), seen["title"]  # text, not run
        assert seen["wide"] == []
        assert seen["weak"] == []
        assert seen["marks"] == 6
        assert seen["drawn"] > 80
        assert seen["all"] == ["001", "002", "003"]
        assert seen["crash"] == ["001", "003"]
        assert seen["long"] == ["001", "003"]
        assert seen["order"] == ["001", "003", "002"]
        assert seen["bad"] == ["001"]


def test_a_browser_without_javascript_shows_the_page(tmp_path: Path, runs: ModuleType) -> None:
    (tmp_path / "run.html").write_text(page(tally_of(runs, failed(runs, 1))))
    (tmp_path / "blank.html").write_text("<!doctype html><title>blank</title>")
    sizes = []
    for name in ("run", "blank"):
        frame, picture = tmp_path / f"{name}.frame.html", tmp_path / f"{name}.png"
        # No script runs in a frame with an empty sandbox (HTML Standard, "sandbox").
        frame.write_text(f'<iframe sandbox="" src="{name}.html" width="700" height="800"></iframe>')
        # The virtual time waits for the frame, also on a slow machine.
        more = ("--virtual-time-budget=10000", "--window-size=800,900", f"--screenshot={picture}")
        done = chromium(frame, *more)
        console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
        assert all("Blocked script execution" in line for line in console)
        assert bool(console) == (name == "run")
        sizes.append(picture.stat().st_size)
    assert sizes[0] > 4 * sizes[1]


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
