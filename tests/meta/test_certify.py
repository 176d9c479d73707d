"""A certificate of a real run: written, verified, changed, compared."""

from __future__ import annotations

import json

from tests.meta.toys import Finished, Toy


def certify(toy: Toy, *arguments: str) -> Finished:
    directories = ["--suites-dir", str(toy.suites), "--golden-dir", str(toy.golden)]
    return toy.command("certify", "-t", "file", *directories, *arguments)


def test_certify_signs_what_the_run_has_found(toy: Toy) -> None:
    toy.environment["XDG_CONFIG_HOME"] = str(toy.directory / "config")
    toy.case("001_it", "pass")
    toy.case("002_needs", "pass", requires="snapshot", groups="rw")
    done = certify(toy)
    assert done.code == 0, done.err
    [path] = toy.directory.glob("certificate-file-*.json")
    stated = json.loads(path.read_text())["statement"]
    assert stated["cases"] == {"broken": 0, "fail": 0, "known": 0, "not_run": 1, "pass": 1}
    assert "discard" in stated["capabilities"]
    assert stated["kill_matrix"]["seeded_bugs"] >= stated["kill_matrix"]["killed"] > 100
    assert path.with_suffix(".html").read_text().count("<h2>") == 13
    assert "passed 1 of 2 cases\nnot judged: 1 could not run here\n" in done.out
    checked = toy.command("verify-certificate", str(path))
    assert checked.code == 0
    assert "passed 1 of 2 cases on" in checked.out
    signer = checked.out.partition("signed by ")[2].split()[0]
    assert toy.command("verify-certificate", "--signer", signer, str(path)).code == 0
    assert toy.command("verify-certificate", "--signer", "00" * 32, str(path)).code == 1
    first = path.rename(toy.directory / "first.json")
    toy.case("001_it", "assert False, 'sector 8 is stale'")
    done = certify(toy)
    assert done.code == 1, "a certificate of a backend that fails says that it fails"
    assert json.loads(path.read_text())["statement"]["failures"][0]["cause"] == "sector 8 is stale"
    table = toy.command("certify", "--compare", str(first), str(path))
    assert table.code == 0
    rows = [line.split() for line in table.out.splitlines()]
    assert ["verdict", "passed", "failed", "*"] in rows
    first.write_text(first.read_text().replace('"pass": 1', '"pass": 2'))
    for words in (("verify-certificate",), ("certify", "--compare", str(path))):
        done = toy.command(*words, str(first))
        assert (done.code, done.err.count("\n")) == (1, 1)
        assert "refused: the signature is not of this statement" in done.err


def test_a_wrong_key_ends_the_run_before_it_starts(toy: Toy) -> None:
    toy.case("001_it", "pass")
    done = certify(toy, "--key", "/nosuch/key")
    assert (done.code, done.out) == (2, "")
    assert done.err == "check: key /nosuch/key: No such file or directory\n"
    assert toy.run("--key", "x").code == 2
    assert toy.command("verify-certificate", "/nosuch").code == 2
