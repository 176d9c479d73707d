"""./check rules: check, explain, convert, schema."""

import json
import os
import subprocess
import sys

import pytest

from qbdcheck.files import ROOT

GOOD = "rules:\n  - {event: write_aio, errno: ENOSPC, sector: 3, once: true}\n"


@pytest.fixture
def rules(tmp_path):
    def run(*words, text=GOOD, name="some.yaml", stdin=""):
        (tmp_path / name).write_text(text)
        command = [sys.executable, "-m", "qbdcheck", "rules", *words]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            input=stdin,
            timeout=60,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        return done.returncode, done.stdout + done.stderr

    return run


def test_a_good_file_is_counted(rules):
    assert rules("check", "some.yaml") == (0, "some.yaml: 1 rule\n")


def test_all_wrong_files_are_named_and_exit_is_2(rules):
    code, output = rules("check", "some.yaml", "none.yaml", text="rules:\n - {event: x}")
    assert code == 2
    assert "some.yaml:2: event: 'x' is not one of" in output
    assert "none.yaml: cannot be read: No such file" in output


def test_conf_files_are_read_by_their_name(rules):
    text = '[inject-error]\nevent = "none"\nerrno = "28"\n'
    code, output = rules("convert", "some.conf", "--to", "yaml", text=text, name="some.conf")
    assert (code, output) == (0, "rules:\n  - {event: none, errno: ENOSPC}\n")


def test_a_file_is_explained(rules):
    code, output = rules("explain", "-", stdin=GOOD)
    assert code == 0
    assert "fails with ENOSPC" in output


def test_conversions_are_taken_by_their_readers(rules):
    code, output = rules("convert", "some.yaml", "--to", "blockdev-json", "--image", "n1")
    assert code == 0
    assert json.loads(output)["inject-error"] == [
        {"event": "write_aio", "errno": 28, "sector": 3, "once": True}
    ]
    code, conf = rules("convert", "some.yaml", "--to", "blkdebug-conf")
    assert code == 0
    code, output = rules("convert", "x.conf", "--to", "yaml", text=conf, name="x.conf")
    assert (code, output) == (0, GOOD)


def test_what_blkdebug_cannot_is_refused_with_the_reason(rules):
    text = "rules: [{event: none, action: delay, id: slow}]"
    code, output = rules("convert", "some.yaml", "--to", "blkdebug-conf", text=text)
    assert code == 2
    assert output == "check: some.yaml: rule slow: QEMU's blkdebug has no action delay\n"


@pytest.mark.parametrize(
    "words",
    [[], ["chek"], ["check"], ["explain"], ["convert", "some.yaml"], ["schema", "x"],
     ["convert", "some.yaml", "--to", "xml"], ["convert", "some.yaml", "--to"]],
)  # fmt: skip
def test_wrong_words_show_the_usage(rules, words):
    code, output = rules(*words)
    assert code == 2
    assert "usage: ./check rules check" in output


def test_the_schema_is_printed(rules):
    code, output = rules("schema")
    assert code == 0
    assert json.loads(output)["title"] == "qbdcheck rules"


def test_rules_become_words_for_nbdkit_or_are_refused(rules):
    text = "rules:\n- {event: read_aio, errno: EIO, iotype: read}\n"
    code, output = rules("convert", "some.yaml", "--to", "nbdkit", text=text)
    assert code == 0
    assert output.startswith("--filter=error error-pread=EIO ")
    code, output = rules("convert", "some.yaml", "--to", "nbdkit")
    assert code == 2
    assert "nbdkit's filters have no" in output
