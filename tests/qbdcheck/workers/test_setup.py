"""What a worker gets to know of a run, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from qbdcheck.errors import UsageError
from qbdcheck.files import ROOT
from qbdcheck.options import Execution, GuestOptions, Options, Selection, TargetOptions
from qbdcheck.workers import setup, source
from qbdcheck.workers.setup import Setup


def options(tmp_path: Path) -> Options:
    return Options(
        selection=Selection(suites_dir=ROOT / "suites"),
        target=TargetOptions(targets_dir=tmp_path),
        execution=Execution(seed=3, lanes=7, strict=True, golden_dir=ROOT / "golden", run_id="id"),
        guest=GuestOptions(ltp=ROOT / "ltp"),
    )


def test_paths_below_the_project_become_those_of_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Setup.of(options(tmp_path), [("001_a", "raw")])
    monkeypatch.setattr(setup, "ROOT", Path("/elsewhere"))
    there = made.here()
    assert there.selection.suites_dir == Path("/elsewhere/suites")
    assert there.execution.golden_dir == Path("/elsewhere/golden")
    assert there.guest.ltp == Path("/elsewhere/ltp")
    assert there.target.targets_dir == tmp_path
    assert (there.execution.seed, there.execution.lanes, there.execution.strict) == (3, 1, False)


def test_other_code_and_another_profile_are_refused(tmp_path: Path) -> None:
    profile = tmp_path / "mine.yaml"
    profile.write_text("name: mine\n")
    given = options(tmp_path)
    made = Setup.of(replace(given, target=TargetOptions(name=str(profile))), [])
    made.check_source()
    assert made.here().target.name == str(profile)
    with pytest.raises(UsageError, match="with other files; the run has"):
        replace(made, source="0" * 16).check_source()
    profile.write_text("name: other\n")
    with pytest.raises(UsageError, match=r"it has another .*mine\.yaml \(or none\)"):
        made.here()
    profile.unlink()
    with pytest.raises(UsageError, match="or none"):
        made.here()


def test_the_digest_sees_each_file_that_decides_a_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("suites", "golden", "blockio", "qbdcheck/_bundled", "docs"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setattr(source, "ROOT", tmp_path)
    monkeypatch.setattr(source, "_PACKAGE", tmp_path / "qbdcheck")

    def digest_after(path: str, text: str) -> str:
        (tmp_path / path).write_text(text)
        return source.source_digest.__wrapped__()

    seen = [digest_after(name, "a") for name in ("suites/001_a.py", "golden/001_a.out")]
    seen += [digest_after("qbdcheck/seed.py", "a"), digest_after("suites/001_a.py", "b")]
    assert len(set(seen)) == 4
    ignored = ("docs/x.md", "suites/durations.json", "qbdcheck/_bundled/x.py", "suites/.hidden")
    assert {digest_after(name, "a") for name in ignored} == {seen[-1]}
