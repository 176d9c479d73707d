"""The documents are true: every command, path, module, case number and example in them is checked.

A command of ./check runs for real if it only lists or explains. A command that would run cases runs
with -l, so its flags, its selection and its target are accepted by the program.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from mutants.catalogue import catalogue, is_control
from qbdcheck.arguments import build_parser, parse
from qbdcheck.catalogue.catalogue import list_cases, read_case
from qbdcheck.catalogue.groups import load_groups
from qbdcheck.cli import main
from qbdcheck.command_help import COMMANDS as SUBCOMMANDS
from qbdcheck.files import ROOT
from qbdcheck.programs.qemu_version import VERIFIED_QEMU
from qbdcheck.targets.mutant_target import profile

DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")),
             ROOT / "suites/README.md"]  # fmt: skip
WRITTEN_BY_HAND = [path for path in DOCUMENTS if path.name != "CHANGELOG.md"]
LAST_PLANNED_NUMBER = 799
"""Ranges of suites that have no case yet may be named in tables of ranges."""

FOLDERS = (
    "blockio", "reference_backend", "oracles", "injectors", "mutants", "qbdcheck", "suites",
    "golden", "targets", "tools", "tests", "bench", "fuzz", "docs", "examples", "contrib",
)  # fmt: skip
MADE_BY_A_RUN = ("suites/allowed-not-run.yaml", "contrib/qbd-driver/build")
"""A file that a user may add, and what make builds."""


def code_blocks(text: str, language: str = "") -> list[str]:
    """Return the contents of the fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def lines_of_code(text: str) -> list[str]:
    """Return the lines of all fenced blocks without a language."""
    return [line for block in code_blocks(text) for line in block.splitlines()]


def quoted(text: str) -> list[str]:
    """Return what stands in back quotes outside of fenced blocks."""
    outside = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"`([^`\n]+)`", outside)


def check_commands(text: str) -> list[str]:
    """Return the ./check commands of a document without their explanations."""
    found = [line for line in [*lines_of_code(text), *quoted(text)] if line.startswith("./check")]
    # An explanation follows after two spaces or more, or after a comment sign.
    return [re.split(r"\s{2,}|\s#\s| & | \| ", line)[0].strip() for line in found]


@cache
def numbers() -> frozenset[int]:
    return frozenset(case.number for case in list_cases(ROOT / "suites"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the files that documents name as examples."""
    directory = tmp_path_factory.mktemp("documents")
    example = (ROOT / "targets/qemu-nbd.yaml").read_text()
    (directory / "mine.yaml").write_text(re.sub(r"(?m)^name: .*$", "name: mine", example))
    (directory / "FILE.fio").write_text((ROOT / "examples/talk.fio").read_text())
    (directory / "FILE").write_text("rules:\n  - {event: write_aio, errno: ENOSPC}\n")
    for name in ("debian.qcow2", "root.img", "bzImage", "initrd.img"):
        (directory / name).write_bytes(b"")
    (directory / "opt/ltp").mkdir(parents=True)
    return directory


def alternatives(command: str) -> list[str]:
    """Return the commands for which one with `[optional]` parts or `a|b` stands."""
    if (optional := re.search(r"\s*\[([^\]]+)\]", command)) is not None:
        without = command.replace(optional[0], "", 1)
        with_it = command.replace(optional[0], " " + optional[1], 1)
        return [*alternatives(without), *alternatives(with_it)]
    if (choice := re.search(r"\S+\|\S+", command)) is not None:
        return [
            one
            for word in choice[0].split("|")
            for one in alternatives(command.replace(choice[0], word, 1))
        ]
    return [command]


NOT_RUN_HERE = {"--install", "--tests", "--mutants", "--doctor", "--probe", "--", "replay"}
"""Other tests run these. Here their flags are checked."""


PARSED_ONLY = [[one] for one in SUBCOMMANDS if one not in ("rules", "replay")]
"""They start a target, write a file or need saved runs; other tests run them."""


def replaced(command: str) -> list[str]:
    """Return the arguments of a command with examples for its placeholders."""
    argv = shlex.split(command)[1:]
    examples = {
        "SIZE": "64M", "N": "2", "NUMBER": "17", "SUITE": "iotests", "SENTENCE": "a sentence",
        "/opt/ltp": "opt/ltp", "../mynbd/build/mynbd.yaml": "mine.yaml",
        "ID": "flush-noop", "GROUP...": "io", "TIME": "1m",
    }  # fmt: skip
    argv = [examples.get(word, word) for word in argv]
    return [word.replace("mutant:ID", "mutant:flush-noop") for word in argv]


COMMANDS = sorted(
    {
        (path.name, one)
        for path in WRITTEN_BY_HAND
        for command in check_commands(path.read_text())
        for one in alternatives(command)
    }
)


def test_documents_have_commands() -> None:
    assert len(COMMANDS) > 40


@pytest.mark.parametrize(("document", "command"), COMMANDS)
def test_each_command_of_check_is_accepted(
    document: str,
    command: str,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = replaced(command)
    monkeypatch.chdir(place)
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "cache"))
    if arguments[:1] == ["rules"]:
        arguments += ["FILE"] if len(arguments) < 3 and arguments[-1] != "schema" else []
        arguments += ["--to", "yaml"] if arguments[1] == "convert" else []
    elif arguments[:1] in PARSED_ONLY or NOT_RUN_HERE & set(arguments):
        parse(arguments)  # these start a target or write a file: their flags are checked
        return
    elif not {"-h", "--help", "--version"} & set(arguments):
        arguments.append("-l")
    code = main(arguments)
    shown = capsys.readouterr()
    assert code == 0, f"{document}: {command}\n{shown.out[-2000:]}{shown.err}"
    if "-t" in arguments:
        profile(arguments[arguments.index("-t") + 1], ROOT / "targets")


MODULE_COMMAND = re.compile(
    r"python(?:3)? -m ((?:reference_backend|oracles|fuzz|qbdcheck)[\w.]*)(.*)"
)
MODULES = sorted(
    {
        (path.name, found[1], found[2])
        for path in WRITTEN_BY_HAND
        for line in [*quoted(path.read_text()), *lines_of_code(path.read_text())]
        if (found := MODULE_COMMAND.search(line)) is not None
    }
)  # fmt: skip


@pytest.mark.parametrize(("document", "module", "rest"), MODULES)
def test_each_module_command_has_its_flags(document: str, module: str, rest: str) -> None:
    rest = re.split(r"\s{2,}|\s#\s| & | \| | &$", rest)[0]
    arguments = rest.replace("[", "").replace("]", "").split()
    subcommand = [arguments[0]] if arguments and re.fullmatch(r"[a-z-]+", arguments[0]) else []
    command = [sys.executable, "-m", module, *subcommand, "--help"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, f"{document}: {shlex.join(command)}\n{done.stderr}"
    for word in arguments:
        flag = word.partition("=")[0]
        if flag.startswith("--") and not re.search(rf"{flag}\b", done.stdout):
            pytest.fail(f"{document}: python -m {module}{rest}: no flag {flag}")


@pytest.mark.parametrize("document", WRITTEN_BY_HAND, ids=lambda path: str(path.name))
def test_paths_and_modules_exist(document: Path) -> None:
    missing = []
    for word in quoted(document.read_text()):
        path = word.split(" ")[0].rstrip("/").partition(":")[0]
        folder = path.split("/")[0]
        if folder in FOLDERS and "/" in path:
            is_pattern = re.search(r"[A-Z*{<]{2,}|\*|<|\.\.\.", path) is not None
            if not is_pattern and path not in MADE_BY_A_RUN and not (ROOT / path).exists():
                missing.append(word)
        elif folder.split(".")[0] in FOLDERS and re.fullmatch(r"\w+(?:\.\w+)+", path):
            parts = path.split(".")
            # the last one or two parts may be names inside the module
            candidates = [ROOT.joinpath(*parts[:count]) for count in range(len(parts), 0, -1)]
            found = next((one for one in candidates[:3] if one.with_suffix(".py").is_file()
                          or one.is_dir() or one.exists()), None)  # fmt: skip
            if found is None or (found == ROOT / parts[0] and len(parts) > 2):
                missing.append(word)
    assert missing == [], "these do not exist"


@pytest.mark.parametrize("document", WRITTEN_BY_HAND, ids=lambda path: str(path.name))
def test_case_numbers_exist(document: Path) -> None:
    text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)
    # "case 17", "Cases 114 and 115", "cases 437, 425 and 431"
    named = re.findall(r"\b[Cc]ases? ((?:\d{3,4}(?:,? and |, | to )?)+)", text)
    unknown = [
        number
        for group in named
        for number in map(int, re.findall(r"\d+", group))
        if number not in numbers() and number <= LAST_PLANNED_NUMBER
        and not re.search(rf"{number:03d}[-\u2013]\d|\d-{number}\b|\d to {number}\b", text)
    ]  # fmt: skip
    assert unknown == [], "there are no such cases"


def test_the_example_of_a_case_is_a_case(tmp_path: Path) -> None:
    blocks = code_blocks((ROOT / "docs/case-writer.md").read_text(), "python")
    example = next(block for block in blocks if "@case(" in block)
    path = tmp_path / "017_example.py"
    path.write_text(example[example.index('"""') :])
    case = read_case(path, load_groups(ROOT / "suites"))
    assert case.broken == ""
    assert case.sentence


@pytest.mark.parametrize("document", ["README.md"])
def test_the_example_of_a_profile_is_a_profile(document: str, tmp_path: Path) -> None:
    from qbdcheck.targets.description import load

    blocks = code_blocks((ROOT / document).read_text(), "yaml")
    example = next(block for block in blocks if block.startswith("name:"))
    path = tmp_path / "mine.yaml"
    path.write_text(example)
    assert load(path).name


def test_the_table_of_verified_qemu_versions_is_that_of_the_doctor() -> None:
    readme = (ROOT / "README.md").read_text()
    assert dict(re.findall(r"^\| (\d+\.\d+) \| (\w[\w ]*) \|$", readme, re.M)) == VERIFIED_QEMU


def test_each_finding_that_a_case_names_is_described() -> None:
    described = set(re.findall(r"^## (\S+)$", (ROOT / "docs/findings.md").read_text(), re.M))
    named = {
        (path.name, name)
        for path in sorted((ROOT / "suites").rglob("*.py"))
        for pair in re.findall(
            r"\bfinding ([a-z0-9-]+)|findings\.md, ([a-z0-9-]+)", path.read_text()
        )
        for name in pair
        if name
    }
    assert named
    assert {one for one in named if one[1] not in described} == set()


def flags_of_workflows() -> list[tuple[str, str]]:
    """Return the file and each long flag of a command qbdcheck in examples/ci."""
    found = []
    for path in sorted((ROOT / "examples/ci").iterdir()):
        if path.suffix != ".md":
            for command in re.findall(
                r"(?:^|\s)qbdcheck (?:.*\\\n|.*\n\s+--)*.*", path.read_text()
            ):
                found += [(path.name, flag) for flag in re.findall(r"\s(--[a-z][a-z-]+)", command)]
    return found


def test_the_flags_of_the_workflows_exist() -> None:
    flags = flags_of_workflows()
    assert {name for name, _ in flags} == {"github.yml", "gitlab-ci.yml", "Jenkinsfile"}
    assert len(flags) > 20
    known = {flag for action in build_parser()._actions for flag in action.option_strings}
    assert {flag for _, flag in flags} - known == set()


def test_the_number_of_seeded_bugs_is_that_of_the_mutants() -> None:
    bugs = sum(not is_control(mutant) for mutant in catalogue().values())
    assert re.findall(r"(\d+) seeded bugs\.", (ROOT / "README.md").read_text()) == [str(bugs)]


def test_the_numbers_of_the_kill_matrix_are_those_of_its_page() -> None:
    in_readme = r"Of the (\d+) that have been measured, (\d+) are detected: (\d+) \((\d+) %\)"
    on_page = r"\*\*(\d+) of (\d+) seeded bugs are killed\*\*, (\d+) of them \((\d+) %\)"
    page = (ROOT / "docs/bugs-and-mutants.md").read_text()
    ((measured, detected, by_quick, share),) = re.findall(
        in_readme, (ROOT / "README.md").read_text()
    )
    assert re.findall(on_page, page) == [(detected, measured, by_quick, share)]
