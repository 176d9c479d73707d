"""A profile is checked when it is read; each mistake is one line with file, line, key and mend."""

from __future__ import annotations

from pathlib import Path

import pytest

from qbdcheck.errors import UsageError
from qbdcheck.files import ROOT
from qbdcheck.targets.description import find, load
from qbdcheck.targets.placeholders import fill_command, fill_tree

TARGETS = ROOT / "targets"
GOOD = """\
name: mine
about: a test
volume:
  create: truncate -s {size} {dir}/{name}
start: server {options} --socket={socket}
ready: {socket: "{socket}", within: 500 ms}
options: {min_block: "--min {value}"}
blockdev: {driver: nbd, export: "{name}"}
kill: {signal: KILL}
crash: {command: "cut {seed}"}
deviations:
  - {case: "17", finding: some-anchor}
  - {case: 040_other, finding: other, formats: [qcow2]}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.yaml"


def test_good_profile_is_read(file: Path) -> None:
    file.write_text(GOOD)
    description = load(file)
    assert description.volume.create == ["truncate -s {size} {dir}/{name}"]
    assert description.ready is not None
    assert description.ready.within == 0.5
    assert description.stop.signal == "TERM"


@pytest.mark.parametrize("name", sorted(path.stem for path in TARGETS.glob("*.yaml")))
def test_shipped_profile_is_sound(name: str) -> None:
    description = load(TARGETS / f"{name}.yaml")
    assert description.name == name.lower()


def test_deviation_is_found_by_number_and_by_stem(file: Path) -> None:
    file.write_text(GOOD)
    description = load(file)
    assert description.expected_deviation("017_x", "raw") == "docs/findings.md#some-anchor"
    assert description.expected_deviation("018_x", "raw") is None
    assert description.expected_deviation("040_other", "qcow2") == "docs/findings.md#other"
    assert description.expected_deviation("040_other", "raw") is None


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("ready:", "redy:", 6, "unknown key 'redy'; did you mean 'ready'?"),
        ("  create:", "  creat:", 4, "unknown key 'volume.creat'; did you mean 'create'?"),
        ("about: a test\n", "", 1, "key 'about' is missing; see docs/targets.md"),
        ("about: a test", "about: 17", 2, "about: Input should be a valid string (it is 17)"),
        ("500 ms", "soon", 6, "ready.within: Input should be a valid number"),
        ("{socket}\n", "{sockt}\n", 5, "start: unknown placeholder {sockt}; known: {dir}"),
        ("min_block:", "min_blok:", 7, "options.min_blok: Input should be 'min_block'"),
        ("signal: KILL", "signal: NINE", 9, "kill.signal: Input should be 'TERM'"),
        ("{signal: KILL}", "{}", 9, "kill: give exactly one of: command, signal, control"),
        ("ready:", "#", 1, "start: needs ready:"),
        ("{driver: nbd, ", "{", 1, "blockdev: needs a driver"),
        ("server {options}", "'server {options}", 14, "not YAML"),
        ("cut {seed}", "cut '{seed}", 10, "no closing quotation in the command"),
        ("[qcow2]", "[qcow7]", 13, "unknown format 'qcow7'; known: raw, qcow2"),
        ("name: mine", "name: mine\nname: yours", 2, "key 'name' is there twice; remove one"),
        ("name: mine", "name: Mine!", 1, "name: String should match pattern"),
        (
            "about: a test",
            "about: a test\nlacks: [flsh]",
            3,
            "unknown capability 'flsh'; did you mean",
        ),
        (
            "  create:",
            '  snapshot_name: "{name}"\n  snapshot: x\n  create:',
            3,
            "snapshot_name: needs {snapshot}",
        ),
        ("  create:", "  clone: copy {new}\n  create:", 3, "clone: needs snapshot:"),
        ("about: a test", "about: a test\nvolatile: true", 1, "volatile: goes with start:"),
    ],
)
def test_mistake_is_one_line_that_says_where(
    file: Path, old: str, new: str, line: int, words: str
) -> None:
    assert old in GOOD
    file.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(UsageError) as caught:
        load(file)
    message = str(caught.value)
    assert "\n" not in message
    assert words in message
    assert message.startswith(f"{file}:{line}:")


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "a profile is a mapping"), (b"- 1\n", "a profile is a mapping"), (b"\xff", "not UTF-8")],
)
def test_file_that_is_no_profile_at_all(file: Path, content: bytes, words: str) -> None:
    file.write_bytes(content)
    with pytest.raises(UsageError, match=words):
        load(file)


def test_unknown_target_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="unknown target 'qemu-ndb'; did you mean 'qemu-nbd'"):
        find("qemu-ndb", TARGETS)
    with pytest.raises(UsageError, match="there are: file, nbd-server"):
        find("zzz", TARGETS)
    with pytest.raises(UsageError, match=r"target file /none/x\.yaml does not exist"):
        find("/none/x.yaml", TARGETS)
    assert find("qemu-nbd", TARGETS) == TARGETS / "qemu-nbd.yaml"


def test_directory_with_spaces_stays_one_word() -> None:
    words = fill_command("a {dir}/x {options} 'b c'", {"dir": "/t m p", "options": ["-r", "-s"]})
    assert words == ["a", "/t m p/x", "-r", "-s", "b c"]
    assert fill_command("a {options}", {"options": []}) == ["a"]


def test_whole_placeholder_of_a_number_becomes_a_number() -> None:
    tree = fill_tree({"size": "{size}", "list": ["{size}b"]}, {"size": 7})
    assert tree == {"size": 7, "list": ["7b"]}
