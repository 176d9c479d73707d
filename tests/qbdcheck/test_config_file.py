"""Default flags from a file: what they set, that the command line wins, and the errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from qbdcheck.arguments import parse
from qbdcheck.errors import UsageError

FILE = """\
target = "mine.yaml"
j = 4
qcow2 = true
raw = true
strict = false
g = ["convert", "zero"]
timeout = 7.5

[env.nightly]
cases = ["1-100", 200]
keep = true
j = 2
junit = "night.xml"
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".qbdcheck.toml").write_text(FILE)
    return tmp_path


def test_the_file_sets_what_the_command_line_does_not(here: Path) -> None:
    options = parse([])
    assert options.target.name == "mine.yaml"
    assert options.target.formats == ("qcow2", "raw")
    assert (options.execution.lanes, options.execution.timeout_s) == (4, 7.5)
    assert options.selection.groups == ("convert", "zero")
    assert not options.execution.strict
    options = parse(["-t", "file", "-j1", "-vpc", "--timeout", "3", "-g", "quick"])
    assert options.target.name == "file"
    assert options.target.formats == ("vpc",)
    assert (options.execution.lanes, options.execution.timeout_s) == (1, 3.0)
    assert options.selection.groups == ("quick",)
    assert parse(["--no-config"]) != parse([])
    assert parse(["--no-config"]).target.name == "reference"


def test_a_selection_on_the_command_line_replaces_the_whole_selection_of_the_file(
    here: Path,
) -> None:
    assert parse(["17"]).selection.groups == ()
    assert parse(["--env", "nightly", "-g", "zero"]).selection.arguments == ()


def test_an_environment_adds_to_the_defaults(here: Path) -> None:
    options = parse(["--env", "nightly"])
    assert options.selection.arguments == ("1-100", "200")
    assert options.target.name == "mine.yaml"
    assert (options.execution.lanes, options.execution.keep) == (2, True)
    assert options.reports.junit_file == Path("night.xml")
    assert parse(["--env", "nightly", "-j8"]).execution.lanes == 8


def test_pyproject_has_a_table_and_the_own_file_goes_first(here: Path) -> None:
    (here / "pyproject.toml").write_text(
        "[tool.qbdcheck]\nj = 3\n[tool.qbdcheck.env.n]\nkeep = true"
    )
    assert parse([]).execution.lanes == 4
    (here / ".qbdcheck.toml").unlink()
    assert parse(["--env", "n"]).execution.lanes == 3
    assert parse(["--env", "n"]).execution.keep
    (here / "pyproject.toml").write_text("[tool.other]\nbroken = ")
    assert parse([]).execution.in_order


def test_results_of_the_file_are_those_of_commands_on_saved_runs(here: Path) -> None:
    (here / ".qbdcheck.toml").write_text('results = "runs"\n')
    assert parse(["history"]).execution.results_dir.parent == here / "runs"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("j = ]", r"^\.qbdcheck\.toml:1: Invalid value$"),
        ("# one\nlanes = 3", r"^\.qbdcheck\.toml:2: lanes: is not a flag that a file can set; "),
        ("list = true", r"toml:1: list: is not a flag"),
        ("j = 0", r"^\.qbdcheck\.toml:1: j: argument -j: '0' is not a whole number >= 1"),
        ("j = true", r":1: j: needs a value, not true"),
        ("keep = 3", r":1: keep: must be true or false"),
        ("c = 'fast'", r":1: c: argument -c: invalid choice: 'fast'"),
        ("g = [[1]]", r":1: g: must be true, a number, a string, or a list of these"),
        ("env = 3", r"^\.qbdcheck\.toml:1: env must be a table, such as \[env\.nightly\]$"),
        ('x = 1\ny = "', r"^\.qbdcheck\.toml:2: "),
        ("[env.n]\nj = 2\nnosuch = 1\n", r"toml:3: nosuch: is not a flag"),
        ("[env]\nn = 3\n", r"^\.qbdcheck\.toml:2: env\.n must be a table, \[env\.n\]$"),
        ("", r"--env n: no such environment; no \[env\.\*\] in"),
        ("[env.night]", r"--env n: no such environment; known: night$"),
    ],
)
def test_errors_name_file_line_and_key(here: Path, text: str, message: str) -> None:
    (here / ".qbdcheck.toml").write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        parse(["--env", "n"] if "env" in text or not text else [])
    assert "\n" not in str(caught.value)


def test_the_line_of_a_key_is_that_of_its_own_table(here: Path) -> None:
    (here / "pyproject.toml").write_text(
        "[project]\nnosuch = 1\n[tool.qbdcheck]\nkeep = true\n[tool.qbdcheck.env.n]\nnosuch = 1\n"
    )
    (here / ".qbdcheck.toml").unlink()
    with pytest.raises(UsageError, match=r"^pyproject\.toml:6: nosuch: is not a flag"):
        parse(["--env", "n"])
