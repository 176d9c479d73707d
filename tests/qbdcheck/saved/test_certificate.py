"""Certificates: what they state, and that a changed byte is found."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from qbdcheck.errors import UsageError
from qbdcheck.saved.certificate import (
    Facts,
    default_key_path,
    headline,
    load_key,
    not_judged,
    public_key_of,
    signed,
    statement,
    verified,
)
from qbdcheck.saved.certificate_page import compared, page
from qbdcheck.saved.runs import SavedRun
from qbdcheck.verdict import Verdict

Made = Callable[..., SavedRun]
FACTS = Facts(
    date="2026-11-28",
    capabilities=["flush", "discard"],
    backend_version="3.24",
    deviations=[{"case": "17", "format": "all", "reason": "documented"}],
    kill_matrix={"seeded_bugs": 104, "killed": 104},
    soak_s=1800.0,
    command="./check certify",
    all_cases=900,
)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture
def stated(saved: Made) -> dict[str, Any]:
    counts = {"faults_fired": 3, "crash_states_judged": 70, "crash_states_different": 100}
    run = saved(
        (1, Verdict.PASS, {"measures": counts}),
        (2, Verdict.PASS, {"measures": {"faults_fired": 4}}),
        (3, Verdict.FAIL, {"message": "sector 8 is <stale>"}),
        (4, Verdict.NOT_RUN, {"reasons": ("target lacks resize",)}),
        (5, Verdict.KNOWN, {"reasons": ("known failure since 2026",)}),
        (530, Verdict.PASS, {"groups": ("runtest",), "elapsed_s": 1800.0}),
    )
    return statement(run.tally, FACTS)


def test_a_statement_sums_what_the_cases_counted(stated: dict[str, Any]) -> None:
    assert stated["measures"] == {
        "crash_states_different": 100, "crash_states_judged": 70, "faults_fired": 7,
    }  # fmt: skip
    assert stated["verdict"] == "failed"
    assert stated["failures"][0]["cause"] == "sector 8 is <stale>"
    assert stated["soak"] == {"requested_hours": 0.5, "hours": 0.5}
    assert stated["not_run"] == {"target lacks resize": ["004_it"]}
    assert [one["case"] for one in stated["deviations"]] == ["17", "005_it"]
    assert stated["cases"]["pass"] == 3
    assert sum(stated["cases_by_basis"]["not stated"].values()) == 6


def test_a_statement_says_what_was_not_judged(stated: dict[str, Any], saved: Made) -> None:
    assert stated["scope"] == {
        "all_cases": 900, "passed": 3, "known_failures": 1, "failed": 1, "not_run": 1,
        "not_selected": 894,
    }  # fmt: skip
    assert headline(stated) == "failed 1 of 5 cases, of 900"
    passed = statement(saved((1,), (2,), (3, Verdict.NOT_RUN)).tally, FACTS)
    assert headline(passed) == "passed 2 of 900 cases"
    assert not_judged(passed) == ("not judged: 897 not selected for this run, 1 could not run here")
    html = page(passed, "c.json", "abcd", "1234")
    assert '<span class="partly">passed 2 of 900 cases</span>' in html
    assert "<strong>Not judged: 897 not selected" in html


def test_a_statement_on_all_cases_has_nothing_to_add(saved: Made) -> None:
    everything = statement(saved((1,), (2,)).tally, replace(FACTS, all_cases=2))
    assert headline(everything) == "passed 2 of 2 cases"
    assert not_judged(everything) == ""
    assert '<span class="passed">passed 2 of 2 cases</span>' in page(everything, "c", "a", "1")


def test_a_statement_of_an_older_version_still_has_a_headline(stated: dict[str, Any]) -> None:
    del stated["scope"]
    assert headline(stated) == "failed"
    assert "mine: <span" in page(stated, "c.json", "abcd", "1234")
    assert compared(stated, stated)


def test_a_run_that_did_not_end_has_no_certificate(saved: Made) -> None:
    with pytest.raises(ValueError, match="the run did not end"):
        statement(saved((1,), interrupted=True).tally, FACTS)


def test_any_changed_byte_is_refused(stated: dict[str, Any]) -> None:
    data = signed(stated, KEY)
    assert verified(data) == (json.loads(json.dumps(stated)), public_key_of(KEY))
    for index in range(len(data)):
        for other in {data[index] ^ 1, data[index] ^ 0x20, 0x20} - {data[index]}:
            with pytest.raises(ValueError, match=r"."):
                verified(data[:index] + bytes([other]) + data[index + 1 :])
    for wrong in (data[:-1], data + b"\n", b"", b"{}", b"[]", b"\xff", data.replace(b"\n", b"")):
        with pytest.raises(ValueError, match=r"."):
            verified(wrong)


def test_a_key_that_is_no_number_is_refused_in_words(stated: dict[str, Any]) -> None:
    data = json.loads(signed(stated, Ed25519PrivateKey.generate()))
    data["signature"]["public_key"] = "g" * 64
    with pytest.raises(ValueError, match="its public_key is no hexadecimal number: a damaged"):
        verified(json.dumps(data).encode())


def test_a_statement_that_another_key_signed_names_that_key(stated: dict[str, Any]) -> None:
    other = Ed25519PrivateKey.generate()
    content = json.loads(signed(stated, other))
    assert verified(signed(stated, other))[1] == public_key_of(other)
    content["signature"]["public_key"] = public_key_of(KEY)
    forged = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    with pytest.raises(ValueError, match="the signature is not of this statement"):
        verified(forged.encode())


def test_the_page_shows_everything_and_escapes_it(stated: dict[str, Any]) -> None:
    html = page(stated, "c.json", "abcd", "1234")
    for part in (
        "mine: <span",
        "sector 8 is &lt;stale&gt;",
        "known failure since 2026",
        "abcd",
        "faults fired</th><td>7",
        "target lacks resize",
        "./check verify-certificate c.json",
    ):
        assert part in html
    assert "<stale>" not in html
    assert "http" not in html


def test_two_certificates_are_compared_row_by_row(stated: dict[str, Any], saved: Made) -> None:
    other = statement(saved((1,)).tally, FACTS)
    table = {name: (one, two) for name, one, two in compared(stated, other)}
    assert table["verdict"] == ("failed", "passed")
    assert table["measures: faults fired"] == ("7", "-")
    assert table["capability discard"] == ("yes", "yes")
    assert table["cases not run"] == ("1", "0")
    assert "failure 003_it" in table


def test_a_key_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    path = default_key_path({"XDG_CONFIG_HOME": str(tmp_path / "config")})
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(public_key_of(load_key(path, may_make=True))))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["certificate.key"]
    path.chmod(0o640)
    with pytest.raises(UsageError, match=r"others can use this key \(mode 0640\); chmod 600 it"):
        load_key(path, may_make=False)


def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        load_key(tmp_path / "none", may_make=False)
    (tmp_path / "key").write_text("hello")
    (tmp_path / "key").chmod(0o600)
    with pytest.raises(UsageError, match="is not an unencrypted PEM key"):
        load_key(tmp_path / "key", may_make=False)
