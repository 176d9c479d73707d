"""The style rules of docs/case-writer.md and CONTRIBUTING.md, checked.

Each test collects all violations and shows them at once; each message says what to do instead.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from qbdcheck.bootstrap.install import MODULES
from qbdcheck.catalogue.basis import policies_of
from qbdcheck.catalogue.capability_words import IMAGE_FORMATS
from qbdcheck.catalogue.catalogue import CASE_FILE, list_cases
from qbdcheck.catalogue.groups import load_groups
from qbdcheck.catalogue.policies import POLICIES
from qbdcheck.commands.new import SUITES, ranges
from qbdcheck.kit import MODULES as KIT_MODULES
from qbdcheck.report.page_case import guarded_bugs, related_bugs
from tests.syntax_trees import tree_of

ROOT = Path(__file__).parents[1]
CODE = (
    "blockio",
    "reference_backend",
    "oracles",
    "injectors",
    "qbdcheck",
    "suites",
    "mutants",
    "bench",
    "fuzz",
    "tools",
)
FUNCTION_LINES, FILE_LINES, CASE_LINES, GOLDEN_LINES = 70, 500, 100, 20

LONGER_FUNCTIONS = {
    # the server's loop: a call costs as much as a request does
    "reference_backend/nbd/transmission.py _fast": 91,
}
"""Functions that may be longer, with their limits. Add no others."""

BANNED_IMPORTS = {
    "subprocess": "qbdcheck.programs.process; in a case the fixture run",
    "random": "qbdcheck.seed; in a case seed.stream()",
    "time": "qbdcheck.clock; a case waits for a condition",
    "socket": "reference_backend.client or .server; in a case the fixture nbd",
}
"""A module, and what to use instead of it."""
MAY_IMPORT = {
    "subprocess": (
        "qbdcheck/programs/process.py",
        "qbdcheck/bootstrap/install.py",
        "qbdcheck/bootstrap/extras.py",
        "qbdcheck/bootstrap/system_packages.py",
        "qbdcheck/bootstrap/version.py",
        "reference_backend/vhost_user/bridge.py",  # starts the daemon, which dies with it
        "bench/",
        "tools/",
    ),
    "random": (
        "qbdcheck/seed.py",
        "qbdcheck/catalogue/ordering.py",
        "reference_backend/store/",
        "reference_backend/vhost_user/disk.py",
        "mutants/",
        "bench/",
        "fuzz/",
        "oracles/crash_states/",
        "qbdcheck/kit/block_contents.py",
        "qbdcheck/kit/covering/",
        "qbdcheck/kit/mixed/",
        "qbdcheck/kit/related_requests.py",
        "qbdcheck/kit/crash/kill_cycles.py",
        "qbdcheck/kit/model/concurrent.py",
        "qbdcheck/kit/cluster/",
        "qbdcheck/kit/virtio_reads.py",
    ),
    "time": ("qbdcheck/clock.py", "reference_backend/", "mutants/", "bench/", "fuzz/"),
    "socket": (
        "qbdcheck/workers/channel.py",
        "reference_backend/",
        "qbdcheck/programs/qmp.py",
        "qbdcheck/programs/monitored.py",
        "qbdcheck/kit/ata_disk.py",
        "qbdcheck/guest/serial_shell.py",
        "qbdcheck/targets/",
        "qbdcheck/kit/",
        "tools/",
        "bench/",
        "tools/",
    ),
}
"""The files and folders (with a slash) that may import a banned module."""
BANNED_CALLS = {
    "os.system": "qbdcheck.programs.process.run",
    "os.popen": "qbdcheck.programs.process.run",
    "eval": "ast.literal_eval",
    "exec": "a function",
    "tempfile.mktemp": "tempfile.mkdtemp",
    "time.sleep": "qbdcheck.clock, in a loop that waits for a condition",
}
BANNED_NAMES = {"utils", "util", "helpers", "helper", "manager", "common", "misc", "stuff"}


def python_files(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def none_of(violations: list[str], fix: str = "") -> None:
    """Fail if there are `violations`; the message has one line for each, and the fix."""
    __tracebackhide__ = True
    if violations:
        pytest.fail("\n".join([*violations, *([fix] if fix else [])]), pytrace=False)


def cases() -> list[Path]:
    return [path for path in python_files("suites") if CASE_FILE.match(path.name)]


def arguments_of_test(path: Path) -> list[str]:
    return [
        argument.arg
        for node in tree_of(path).body
        if isinstance(node, ast.FunctionDef) and node.name == "test"
        for argument in node.args.args
    ]


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the number of lines of a function, without its docstring."""
    end = function.end_lineno or function.lineno
    lines = end - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function, clean=False) is not None:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def test_functions_have_at_most_70_lines_and_files_500() -> None:
    long = []
    for path in python_files(*CODE, "tests"):
        lines = len(path.read_text().splitlines())
        if lines > FILE_LINES:
            long.append(f"{relative(path)}: {lines} lines, at most {FILE_LINES}: split it")
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = body_lines(node)
                limit = LONGER_FUNCTIONS.get(f"{relative(path)} {node.name}", FUNCTION_LINES)
                if lines > limit:
                    where = f"{relative(path)}:{node.lineno} {node.name}"
                    long.append(f"{where}: {lines} lines, at most {limit}")
    none_of(long)


def imported_modules(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0], node.lineno


def test_processes_randomness_time_and_sockets_are_imported_only_where_allowed() -> None:
    found = [
        f"{relative(path)}:{line}: import {module}; use {BANNED_IMPORTS[module]}"
        for path in python_files(*CODE)
        for module, line in imported_modules(tree_of(path))
        if module in BANNED_IMPORTS and not relative(path).startswith(MAY_IMPORT[module])
    ]
    none_of(found)


def test_banned_calls_are_not_used() -> None:
    found = []
    for path in python_files(*CODE):
        for node in ast.walk(tree_of(path)):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            if name in BANNED_CALLS and not (
                name == "time.sleep" and relative(path).startswith(MAY_IMPORT["time"])
            ):
                where = f"{relative(path)}:{node.lineno}"
                found.append(f"{where}: {name}(); use {BANNED_CALLS[name]}")
            for keyword in node.keywords:
                if keyword.arg == "shell" and ast.unparse(keyword.value) == "True":
                    found.append(  # noqa: PERF401
                        f"{relative(path)}:{node.lineno}: shell=True; pass a list of arguments"
                    )
    none_of(found)


def text_files() -> Iterator[Path]:
    for folder in (*CODE, "tests", "docs", "targets", "golden", ".ci"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and path.suffix in {".py", ".md", ".yaml", ".out", ".toml", ""}:
                yield path
    yield from (
        path for path in sorted(ROOT.glob("*.*")) if path.suffix in {".md", ".toml", ".ini"}
    )
    yield ROOT / "check"


def test_nothing_is_left_to_do_later_and_no_merge_is_half_done() -> None:
    # the words are split so that this file does not match; filters also use the third one
    words = rf"\b(?:{'TO' + 'DO'}|{'FIX' + 'ME'})\b|#.*\b{'XX' + 'X'}\b"
    later = re.compile(rf"{words}|^(?:{'<' * 7}|{'>' * 7}) ")
    found = [
        f"{relative(path)}:{number}: {line.strip()}"
        for path in text_files()
        if "__pycache__" not in path.parts
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if later.search(line)
    ]
    none_of(found)


def test_file_names_are_nouns_of_the_field() -> None:
    named = [
        relative(path)
        for path in python_files(*CODE, "tests")
        if BANNED_NAMES & set(path.stem.split("_")) or BANNED_NAMES & set(path.parent.parts[-1:])
    ]
    none_of(named, "name a file after what is in it")


# Section: cases and goldens


def test_every_case_can_be_read_and_says_what_it_checks() -> None:
    listed = list_cases(ROOT / "suites", load_groups(ROOT / "suites"))
    none_of([f"{one.case_id}: {one.broken}" for one in listed if one.broken])
    without = [one.case_id for one in listed if not one.spec.basis]
    none_of(without, "add basis= to @case: docs/case-writer.md tells how to choose it")
    used = {name for one in listed for name in policies_of(one.spec.basis)}
    none_of(sorted(set(POLICIES) - used), "no case has this policy as its basis: remove it")
    silent = [
        relative(path)
        for path in cases()
        if not (ast.get_docstring(tree_of(path)) or "").startswith("This case checks that ")
    ]
    none_of(silent)


def test_every_number_is_unique_and_in_the_range_of_its_suite() -> None:
    numbers: dict[int, str] = {}
    wrong = []
    for path in cases():
        number, suite = int(path.name.partition("_")[0]), path.parent.name
        if suite not in SUITES:
            wrong.append(f"{relative(path)}: unknown suite {suite}")
        elif not any(first <= number <= last for first, last in SUITES[suite]):
            wrong.append(f"{relative(path)}: {suite} has {ranges(suite)}")
        if number in numbers:
            wrong.append(f"{relative(path)}: {numbers[number]} has this number")
        numbers[number] = relative(path)
    none_of(wrong)


def test_cases_are_short() -> None:
    long = [
        f"{relative(path)}: {lines} lines, at most {CASE_LINES}"
        for path in cases()
        if (lines := len(path.read_text().splitlines())) > CASE_LINES
    ]
    long += [
        f"{relative(path)}: {lines} lines, at most {GOLDEN_LINES}: the story, not the log"
        for path in sorted((ROOT / "golden").glob("*.out"))
        if (lines := len(path.read_text().splitlines())) > GOLDEN_LINES
    ]
    none_of(long)


def test_a_case_has_a_golden_exactly_when_it_prints() -> None:
    goldens = {path.name.partition(".")[0] for path in (ROOT / "golden").glob("*.out")}
    printing = {path.stem for path in cases() if "golden" in arguments_of_test(path)}
    none_of(sorted(goldens - printing), "remove the golden: its case does not print or is missing")
    none_of(sorted(printing - goldens), "./check --update-golden NUMBER writes the golden")


def test_the_name_of_each_golden_is_one_that_the_runner_looks_for() -> None:
    formats = "|".join(IMAGE_FORMATS)
    name = re.compile(rf"\w+(?:\.(?:{formats}))?(?:\.nocache)?(?:\.qemu-\d+\.\d+)?\.out")
    goldens = [path.name for path in (ROOT / "golden").iterdir()]
    none_of([one for one in goldens if not name.fullmatch(one)], "see qbdcheck.runner.golden")
    lone = [
        one
        for one in goldens
        if ".qemu-" in one and f"{one.partition('.qemu-')[0]}.out" not in goldens
    ]
    none_of(lone, "a variant by version needs the golden for older versions")


_PURE_MODULES = """
    __future__ oracles pytest collections concurrent contextlib copy dataclasses enum errno
    functools hashlib itertools json math os pathlib re shutil signal struct threading typing
    urllib zlib
"""
_FOR_CASES = {"qbdcheck.kit", *(f"qbdcheck.kit.{name}" for name in KIT_MODULES)}


def full_imports(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node.lineno


def test_cases_import_from_the_kit_and_the_standard_library_only() -> None:
    allowed = set(_PURE_MODULES.split())
    found = [
        f"{relative(path)}:{line}: import {module}"
        for path in cases()
        for module, line in full_imports(tree_of(path))
        if module not in _FOR_CASES and module.partition(".")[0] not in allowed
    ]
    none_of(found, "import it from qbdcheck.kit (docs/kit.md), or use a fixture")


def test_every_module_of_the_kit_that_is_listed_is_used_by_a_case() -> None:
    used = {module for path in cases() for module, _ in full_imports(tree_of(path))}
    none_of(sorted(_FOR_CASES - used), "remove it from MODULES in qbdcheck/kit/__init__.py")


def test_guards_name_bugs_of_the_list() -> None:
    known = set(
        re.findall(r"^\| `([a-z0-9-]+)`", (ROOT / "docs/bugs.md").read_text(), re.MULTILINE)
    )
    assert known
    wrong = []
    for path in cases():
        ids = guarded_bugs(path) + related_bugs(path)
        if not ids:
            wrong.append(f"{relative(path)}: no Guards: or Related: with ids of docs/bugs.md")
        wrong += [f"{relative(path)}: {one} is there twice" for one in ids if ids.count(one) > 1]
        wrong += [
            f"{relative(path)}: {one} is not in docs/bugs.md" for one in ids if one not in known
        ]
    none_of(wrong)


def test_every_injector_and_mutant_has_a_test_of_its_name() -> None:
    tests = {path.stem for path in python_files("tests")}
    missing = [
        f"{relative(path)}: no test_{path.stem}.py"
        for folder in ("injectors", "mutants")
        for path in sorted((ROOT / folder).glob("*.py"))
        if path.stem != "__init__" and f"test_{path.stem}" not in tests
    ]
    none_of(missing)


# Section: documents and dependencies


def documents() -> list[Path]:
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")),
            *sorted((ROOT / "suites").rglob("*.md"))]  # fmt: skip


def anchors_of(text: str) -> set[str]:
    """Return the anchors of a document's headings, as GitHub and GitLab make them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", documents(), ids=relative)
def test_links_of_documents_lead_somewhere(document: Path) -> None:
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = document.parent / name if name else document
        if not target.exists():
            dead.append(link)
        elif anchor and target.suffix == ".md" and anchor not in anchors_of(target.read_text()):
            dead.append(f"{link} (no such heading)")
    none_of(dead)


def test_the_changelog_has_a_place_for_the_next_change() -> None:
    assert "\n## Unreleased\n" in (ROOT / "CHANGELOG.md").read_text()


def names_in(requirements: list[str]) -> set[str]:
    found = (re.match(r"[\w.-]+", line) for line in requirements)
    return {re.sub(r"[-_.]+", "-", match[0]).lower() for match in found if match}


def test_the_lock_files_hold_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = (ROOT / "requirements.lock").read_text().splitlines()
    locked_dev = (ROOT / "requirements-dev.lock").read_text().splitlines()
    again = "run .ci/lock"
    assert names_in(project["dependencies"]) <= names_in(locked), again
    assert names_in(project["optional-dependencies"]["dev"]) <= names_in(locked_dev), again
    pins = [line for line in locked + locked_dev if line and not line.startswith("#")]
    assert [line for line in pins if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    assert len(MODULES) == len(project["dependencies"]), "qbdcheck.bootstrap.install.MODULES"


# Section: plain English

BANNED_WORDS = {
    r"haggl\w*": "handshake",
    r"(?<!nbd-)lobby": "acceptor",
    r"tenants?\b": "sibling export",
    r"far[ _]hosts?": "host in a network namespace",
    r"standstill": "paused backend",
    r"offspring": "descendants, subreaper",
    r"aftermath": "artefacts",
    r"mend(?:s|ed|ing)?\b": "fix, repair",
    r"(?:scripts|words|sessions|walks|workloads) of chance": "random ...",
    r"in vain": "without success",
    r"by and by": "gradually",
    r"is told\b|are told\b|was told\b": "is reported",
    r"unless told": "by default",
    r"pytest_face": "session",
    r"side by side": "in parallel, next to each other",
    r"for ever\b": "forever, always, without limit",
    r"of ours\b": "the project's",
    r"goes on\b": "continues",
    r"whoever\b|for who\b|who has\b": "the client, the user, the caller",
    r"all the same\b": "still, nevertheless",
    r"comes? up\b": "starts, appears",
    r"once more\b": "again",
    r"says? so\b|said so\b": "reports it",
    r"looks? at\b|looked at\b": "checks, reads, judges",
    r"by itself\b": "automatically, alone",
    r"at hand\b": "available",
    r"to be had\b": "available",
    r"held against|hold against": "compared with",
    r"(?:has|have) gone\b": "exited, disconnected, is missing",
    r"(?:was|were|is|are) asked for\b": "requested",
    r"insists? on\b": "requires",
    r"(?:does|do) without\b": "does not need, does not support",
    r"weigh_\w+|without_our_\w+": "apply_deviation, without_runner_frames",
}
"""Words that a stranger does not understand, and what to write instead."""
MAY_SAY = {
    "tests/test_tidy.py": r".*",
    "CHANGELOG.md": r".*",
    # names of bug classes, which documents and cases cite
    "docs/bugs.md": r"tenants?\b",
    "docs/bugs-and-mutants.md": r"tenants?\b",
}
_BUG_CLASS = re.compile(r"previous-tenant-data")


def test_text_has_no_banned_words() -> None:
    found = []
    any_of_them = re.compile(rf"\b(?:{'|'.join(BANNED_WORDS)})", re.IGNORECASE)
    for path in text_files():
        if "__pycache__" in path.parts or path.suffix not in {".py", ".md", ".yaml", ".out", ""}:
            continue
        name, text = relative(path), path.read_text(errors="replace")
        for number, line in enumerate(text.splitlines() if any_of_them.search(text) else (), 1):
            plain = _BUG_CLASS.sub("", line)
            for pattern, instead in BANNED_WORDS.items():
                hit = re.search(rf"\b(?:{pattern})", plain, re.IGNORECASE)
                if hit and not re.fullmatch(MAY_SAY.get(name, "(?!)"), hit[0], re.IGNORECASE):
                    found.append(f"{name}:{number}: {hit[0]!r}: write {instead}")
    none_of(found, "docs/architecture.md and the glossary in CONTRIBUTING.md have the terms")


# Section: the layout


def test_tests_mirror_the_folders_of_the_code() -> None:
    """A folder of tests is a folder of the code; a test named after a module is in its folder."""
    wrong = []
    modules: dict[str, set[str]] = {}
    for path in python_files(*CODE):
        modules.setdefault(path.stem, set()).add(relative(path.parent))
    for path in python_files("tests"):
        folder = relative(path.parent).removeprefix("tests").lstrip("/")
        if folder in {"", "meta"}:  # tests of the whole tree, and of whole runs
            continue
        if not (ROOT / folder).is_dir():
            wrong.append(f"{relative(path)}: there is no folder {folder}")
        stem = path.stem.removeprefix("test_")
        places = modules.get(stem, set())
        if path.stem.startswith("test_") and places and folder not in places:
            wrong.append(f"{relative(path)}: {stem}.py is in {' and '.join(sorted(places))}")
    none_of(wrong)
