"""./check rules: check, explain, convert, schema."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import pytest

from qbdcheck.files import ROOT

GOOD = "rules:\n  - {event: write_aio, errno: ENOSPC, sector: 3, once: true}\n"


class Run(Protocol):
    """Run `./check rules` beside a file; return the exit code, and stdout and stderr together."""

    def __call__(
        self, *arguments: str, text: str = GOOD, name: str = "some.yaml", stdin: str = ""
    ) -> tuple[int, str]: ...


@pytest.fixture
def rules(tmp_path: Path) -> Run:
    def run(
        *arguments: str, text: str = GOOD, name: str = "some.yaml", stdin: str = ""
    ) -> tuple[int, str]:
        (tmp_path / name).write_text(text)
        command = [sys.executable, "-m", "qbdcheck", "rules", *arguments]
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


def test_a_good_file_is_counted(rules: Run) -> None:
    assert rules("check", "some.yaml") == (0, "some.yaml: 1 rule\n")


def test_all_wrong_files_are_named_and_exit_is_2(rules: Run) -> None:
    code, output = rules("check", "some.yaml", "none.yaml", text="rules:\n - {event: x}")
    assert code == 2
    assert "some.yaml:2: event: 'x' is not one of" in output
    assert "none.yaml: cannot be read: No such file" in output


def test_a_form_is_known_by_its_contents(rules: Run) -> None:
    text = '[inject-error]\nevent = "none"\nerrno = "28"\n'
    code, output = rules("convert", "some.yaml", "--to", "yaml", text=text)
    assert (code, output) == (0, "rules:\n  - {event: none, errno: ENOSPC}\n")


def test_a_file_is_explained(rules: Run) -> None:
    code, output = rules("explain", "-", stdin=GOOD)
    assert code == 0
    assert "fails with ENOSPC" in output


def test_a_conversion_to_blockdev_json(rules: Run) -> None:
    code, output = rules("convert", "some.yaml", "--to", "blockdev-json", "--image", "n1")
    assert code == 0
    assert json.loads(output)["inject-error"] == [
        {"event": "write_aio", "errno": 28, "sector": 3, "once": True}
    ]


@pytest.mark.parametrize("form", ["blkdebug-conf", "blockdev-json", "yaml"])
def test_conversions_can_be_read_back_from_a_file_of_any_name(rules: Run, form: str) -> None:
    code, converted = rules("convert", "some.yaml", "--to", form)
    assert code == 0
    assert rules("convert", "x", "--to", "yaml", text=converted, name="x") == (0, GOOD)


def test_a_command_line_of_nbdkit_can_be_read_back(rules: Run) -> None:
    text = "rules: [{event: none, errno: EIO, iotype: [write-zeroes, read]}]"
    code, line = rules("convert", "some.yaml", "--to", "nbdkit", text=text)
    assert code == 0
    assert rules("convert", "x", "--to", "nbdkit", text=line, name="x") == (0, line)


def test_a_note_names_limits_that_are_no_rules(rules: Run) -> None:
    node = {"driver": "blkdebug", "image": "n", "max-transfer": 4096, "set-state": []}
    assert rules("check", "x.json", text=json.dumps(node), name="x.json") == (
        0,
        "x.json: 0 rules\nnote: x.json: limits of the node are not rules, left out: max-transfer\n",
    )


def test_a_conversion_that_blkdebug_cannot_express_is_refused(rules: Run) -> None:
    text = "rules: [{event: none, action: delay, id: slow}]"
    code, output = rules("convert", "some.yaml", "--to", "blkdebug-conf", text=text)
    assert code == 2
    assert output == "check: some.yaml: rule slow: QEMU's blkdebug has no action delay\n"


def test_a_mistyped_subcommand_has_a_suggestion(rules: Run) -> None:
    assert rules("chek", "x") == (2, "check: unknown subcommand rules chek; did you mean check?\n")


@pytest.mark.parametrize(
    "arguments",
    [[], ["x"], ["check"], ["explain"], ["convert", "some.yaml"], ["schema", "x"],
     ["convert", "some.yaml", "--to", "xml"], ["convert", "some.yaml", "--to"]],
)  # fmt: skip
def test_wrong_arguments_show_the_usage(rules: Run, arguments: list[str]) -> None:
    code, output = rules(*arguments)
    assert code == 2
    assert "usage: ./check rules check" in output


def test_the_schema_is_printed(rules: Run) -> None:
    code, output = rules("schema")
    assert code == 0
    assert json.loads(output)["title"] == "qbdcheck rules"


def test_a_conversion_to_nbdkit(rules: Run) -> None:
    text = "rules:\n- {event: read_aio, errno: EIO, iotype: read}\n"
    code, output = rules("convert", "some.yaml", "--to", "nbdkit", text=text)
    assert code == 0
    assert output.startswith("--filter=error error-pread=EIO ")
    code, output = rules("convert", "some.yaml", "--to", "nbdkit")
    assert code == 2
    assert "nbdkit's filters have no" in output
