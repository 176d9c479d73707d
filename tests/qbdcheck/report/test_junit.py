"""JUnit report, read by junitparser."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType

import junitparser
import pytest

from qbdcheck.report.events import Event
from qbdcheck.report.junit import JUnit
from qbdcheck.verdict import Verdict


def written(path: Path, events: list[Event]) -> junitparser.JUnitXml:
    report = JUnit(path)
    for event in events:
        report.handle(event)
    report.close()
    return junitparser.JUnitXml.fromfile(str(path))


def property_pairs(path: Path, parent: str) -> list[tuple[str, str]]:
    found = ET.parse(path).iterfind(f".//{parent}/properties/property")
    return [(one.attrib["name"], one.attrib["value"]) for one in found]


def test_every_verdict_has_its_junit_element(tmp_path: Path, runs: ModuleType) -> None:
    document = written(tmp_path / "j.xml", runs.mixed_run())
    (suite,) = document
    assert suite.name == "reference.raw"
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (5, 1, 1, 1)
    cases = {case.name[:3]: case for case in suite}
    assert cases["001"].is_passed
    assert cases["002"].result[0].message == "target lacks resize; program fio is missing # 1"
    assert isinstance(cases["002"].result[0], junitparser.Skipped)
    assert isinstance(cases["003"].result[0], junitparser.Failure)
    assert isinstance(cases["004"].result[0], junitparser.Error)
    assert cases["001"].classname == "iotests.raw"
    assert cases["001"].time == pytest.approx(1.25)
    assert "multi_conn" in cases["005"].system_out


def test_a_failure_carries_its_cause_its_diff_and_its_rerun_command(
    tmp_path: Path, runs: ModuleType
) -> None:
    (suite,) = written(tmp_path / "j.xml", runs.mixed_run())
    case = next(case for case in suite if case.name.startswith("003"))
    expected = "output line 2: expected '0 0x10000 data', got '0 0x20000 data'"
    assert case.result[0].message == expected
    assert "+0 0x20000 data" in case.result[0].text
    assert "./check --seed 7 3" in case.system_out


def test_bytes_that_xml_forbids_do_not_break_the_document(tmp_path: Path, runs: ModuleType) -> None:
    written(tmp_path / "j.xml", runs.mixed_run())
    text = "".join(ET.parse(tmp_path / "j.xml").getroot().itertext())
    assert "odd <bytes> & ]]> \N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}[31m" in text


def test_each_image_format_is_a_separate_suite(tmp_path: Path, runs: ModuleType) -> None:
    events = [
        runs.STARTED,
        runs.ended(1, Verdict.PASS),
        runs.ended(1, Verdict.FAIL, image_format="qcow2", message="m"),
    ]
    raw, qcow2 = written(tmp_path / "j.xml", events)
    assert (raw.name, raw.failures) == ("reference.raw", 0)
    assert (qcow2.name, qcow2.failures) == ("reference.qcow2", 1)
    assert dict(property_pairs(tmp_path / "j.xml", "testsuite"))["seed"] == "7"


def test_findings_are_properties_of_their_case(tmp_path: Path, runs: ModuleType) -> None:
    (suite,) = written(tmp_path / "j.xml", runs.run_with_findings())
    (case,) = suite
    properties = property_pairs(tmp_path / "j.xml", "testcase")
    assert properties[0] == ("damage", "stale, error")
    assert [name for name, _ in properties[1:]] == ["finding", "finding"]
    members = json.loads(properties[1][1])
    assert (members["damage"], members["seen"]["generation"]) == ("stale", 4)
    assert case.result[0].message.startswith("offset 4096 (0x1000), sector 8, 512 bytes: stale")


def test_basis_and_waivers_are_in_the_case(tmp_path: Path, runs: ModuleType) -> None:
    basis = ("MUST: NBD, NBD_CMD_READ", "POLICY: discard-old-or-zero")
    note = "discard-old-or-zero: sector 9 reads 0xff"
    events = [runs.STARTED, runs.ended(1, Verdict.PASS, basis=basis, waived=(note,))]
    written(tmp_path / "j.xml", events)
    assert property_pairs(tmp_path / "j.xml", "testcase") == [("basis", one) for one in basis]
    assert f"waived: {note}" in "".join(ET.parse(tmp_path / "j.xml").getroot().itertext())


def test_kept_files_below_the_working_directory_are_attachments(
    tmp_path: Path, runs: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    kept = (str(tmp_path / "results/003/full.log"), "/elsewhere/003/full.log")
    events = [runs.STARTED, runs.ended(3, Verdict.FAIL, message="m", artefacts=kept)]
    (suite,) = written(tmp_path / "j.xml", events)
    (case,) = suite
    attached = [line for line in case.system_out.splitlines() if line.startswith("[[")]
    assert attached == ["[[ATTACHMENT|results/003/full.log]]"]
