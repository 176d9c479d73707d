"""Run a case that fails under plain pytest, with the reports of plugins that others maintain.

    python tools/pytest_plugins.py

Verifies that pytest's JUnit file, pytest-html and allure-pytest have the verdict, the properties
and the attachments of the case, with pytest-xdist and without. It needs these three plugins; tox
makes an environment with them: ``tox run -e pytest-plugins``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUG = "-t mutant:short-read-resume-offset"
ATTACHED = {"damage", "findings.json"}


def run(place: Path, *arguments: str) -> None:
    """Run case 001 on a backend with a bug; it must fail."""
    argv = [sys.executable, "-m", "pytest", "suites", "-q", "-k", "001_first", f"--check={BUG}"]
    argv += [f"--junit-xml={place / 'junit.xml'}", f"--alluredir={place / 'allure'}"]
    argv += [f"--html={place / 'page.html'}", "--self-contained-html", *arguments]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 1:
        raise SystemExit(f"exit status {done.returncode}, not 1:\n{done.stdout}{done.stderr}")


def faults(place: Path) -> list[str]:
    """Return what is wrong with the reports, one line each."""
    found = []
    pairs = ET.parse(place / "junit.xml").iterfind(".//testcase/properties/property")  # noqa: S314
    properties = {one.attrib["name"]: one.attrib["value"] for one in pairs}
    if properties.get("damage") != "misdirected" or "finding" not in properties:
        found.append(f"JUnit: the properties are {properties}")
    page = (place / "page.html").read_text(encoding="utf-8")
    found += [f"pytest-html: no attachment {name}" for name in ATTACHED if name not in page]
    results = [json.loads(path.read_text()) for path in (place / "allure").glob("*-result.json")]
    if [one["status"] for one in results] != ["failed"]:
        found.append(f"allure: the results are {[one['status'] for one in results]}")
    attached = {each["name"] for one in results for each in one.get("attachments", ())}
    if not attached >= ATTACHED:
        found.append(f"allure: the attachments are {sorted(attached)}")
    return found


def main() -> int:
    """Run the case with and without xdist; return the exit status."""
    status = 0
    for arguments in ((), ("-n", "1")):
        with tempfile.TemporaryDirectory(prefix="qp") as directory:
            run(Path(directory), *arguments)
            for fault in faults(Path(directory)):
                print(f"pytest {' '.join(arguments)}: {fault}")
                status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
