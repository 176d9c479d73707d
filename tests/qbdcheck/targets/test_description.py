"""A profile is checked when it is read. A mistake is one line: file, line, key and fix."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from qbdcheck.errors import SetupError, UsageError
from qbdcheck.files import ROOT
from qbdcheck.targets.description import find, load
from qbdcheck.targets.placeholders import fill_command, fill_tree

TARGETS = ROOT / "targets"
FINDINGS = "docs/findings.md#"
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
  - {case: "17", finding: no-hole-reported-as-hole}
  - {case: 040_write_into_discarded, finding: nbdkit-file-regrows, formats: [qcow2]}
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


def test_read_only_target_needs_the_file_behind_its_volumes(file: Path) -> None:
    file.write_text(GOOD.replace("driver: nbd,", "driver: nbd, read-only: true,"))
    with pytest.raises(UsageError, match="requires path:, the file behind the volume"):
        load(file)


def test_deviation_is_found_by_number_and_by_stem(file: Path) -> None:
    file.write_text(GOOD)
    description = load(file)
    by_number = description.expected_deviation("017_x", "raw")
    assert by_number is not None
    assert by_number.where == FINDINGS + "no-hole-reported-as-hole"
    assert not by_number.sometimes
    assert description.expected_deviation("018_x", "raw") is None
    by_stem = description.expected_deviation("040_write_into_discarded", "qcow2")
    assert by_stem is not None
    assert by_stem.where == FINDINGS + "nbdkit-file-regrows"
    assert description.expected_deviation("040_write_into_discarded", "raw") is None


@pytest.mark.parametrize(
    ("old", "new", "line", "expected"),
    [
        ("ready:", "redy:", 6, "unknown key 'redy'; did you mean 'ready'?"),
        ("  create:", "  creat:", 4, "unknown key 'volume.creat'; did you mean 'create'?"),
        ("about: a test\n", "", 1, "key 'about' is missing; see docs/targets.md"),
        ("about: a test", "about: 17", 2, "about: not text; put it in quotes (it is 17)"),
        ("500 ms", "soon", 6, "ready.within: not a time: use 5 s or 500 ms (it is 'soon')"),
        ("{socket}\n", "{sockt}\n", 5, "start: unknown placeholder {sockt}; known: {dir}"),
        ("min_block:", "min_blok:", 7, "options.min_blok: must be 'min_block'"),
        ("signal: KILL", "signal: NINE", 9, "kill.signal: must be 'TERM'"),
        ("{signal: KILL}", "{}", 9, "kill: give exactly one of: command, signal, control"),
        ("ready:", "#", 1, "start: requires ready:"),
        ("{driver: nbd, ", "{", 1, "blockdev: has no driver"),
        ("server {options}", "'server {options}", 14, "not YAML"),
        ("cut {seed}", "cut '{seed}", 10, "no closing quotation in the command"),
        ("[qcow2]", "[qcow7]", 13, "unknown format 'qcow7'; known: raw, qcow2"),
        ("name: mine", "name: mine\nname: yours", 2, "key 'name' is given twice; remove one"),
        (
            "name: mine",
            "name: Mine!",
            1,
            "name: use lower-case letters, digits, dots, dashes and underscores (it is 'Mine!')",
        ),
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
            "snapshot_name: must contain {snapshot}",
        ),
        ("  create:", "  clone: copy {new}\n  create:", 3, "clone: requires snapshot:"),
        (
            "  create:",
            '  snapshot_name: "@{snapshot}"\n  snapshot: x\n  snapshot_blockdev: {a: b}\n  create:',
            3,
            "snapshot_blockdev: and snapshot_name: exclude each other",
        ),
        (
            "500 ms",
            "5 parsecs",
            6,
            "ready.within: not a time: use 5 s or 500 ms (it is '5 parsecs')",
        ),
        ("500 ms", "2 h", 6, "ready.within: not a time"),
        ("500 ms", "4000 s", 6, "ready.within: must be at most 3600 (it is '4000 s')"),
        ("500 ms", "true", 6, "ready.within: not a time: use 5 s or 500 ms (it is True)"),
        ('socket: "{socket}"', "port: 65536", 6, "ready.port: not a TCP port: use a number from 1"),
        ('socket: "{socket}"', 'port: "0"', 6, "ready.port: not a TCP port"),
        ('socket: "{socket}", ', "", 6, "ready: give exactly one of: socket"),
        (
            "[qcow2]",
            "[qcow2], damage: [hung]",
            13,
            "not a kind of damage: use one of zeroed, stale",
        ),
        ("[qcow2]", "[qcow2], versions: new", 13, "not a range of versions; write '>=3.24 <3.27'"),
        ("[qcow2]", "[qcow2], versions: '>=1'", 1, "versions: in deviations: requires version:"),
        ('"17"', '"999"', 12, "deviations.0.case: unknown case '999'; ./check -l lists the cases"),
        (
            "case: 040_write_into_discarded",
            "case: 040_write_into_discardedx",
            13,
            "unknown case '040_write_into_discardedx'; did you mean '040_write_into_discarded'?",
        ),
        (
            "-as-hole",
            "-as-hold",
            12,
            "deviations.0.finding: unknown finding 'no-hole-reported-as-ho",
        ),
        (
            "about: a test",
            "about: a test\nwaives: [discard-zero]",
            3,
            "waives.0: unknown policy 'discard-zero'; did you mean 'discard-old-or-zero'?",
        ),
        ("about: a test", "about: a test\nfresh: maybe", 3, "fresh: must be 'zero' or 'undefined'"),
        (
            "about: a test",
            "about: a test\nvolatile: maybe",
            3,
            "volatile: must be true, false or 'connection' (it is 'maybe')",
        ),
        ("about: a test", "about: a test\nvolatile: true", 1, "volatile: requires start:"),
    ],
)
def test_mistake_is_one_line_with_its_place(
    file: Path, old: str, new: str, line: int, expected: str
) -> None:
    assert old in GOOD
    file.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(UsageError) as caught:
        load(file)
    message = str(caught.value)
    assert "\n" not in message
    assert expected in message
    assert message.startswith(f"{file}:{line}:")


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"", "a profile is a mapping"), (b"- 1\n", "a profile is a mapping"), (b"\xff", "not UTF-8")],
)
def test_file_that_is_not_a_profile_is_refused(file: Path, content: bytes, expected: str) -> None:
    file.write_bytes(content)
    with pytest.raises(UsageError, match=expected):
        load(file)


def test_unknown_target_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="unknown target 'qemu-ndb'; did you mean 'qemu-nbd'"):
        find("qemu-ndb", TARGETS)
    with pytest.raises(UsageError, match=r"known: file, .*, nbd-server,"):
        find("zzz", TARGETS)
    with pytest.raises(UsageError, match=r"target file /none/x\.yaml does not exist"):
        find("/none/x.yaml", TARGETS)
    assert find("qemu-nbd", TARGETS) == TARGETS / "qemu-nbd.yaml"


def test_directory_with_spaces_stays_one_argument() -> None:
    expected = fill_command("a {dir}/x {options} 'b c'", {"dir": "/t m p", "options": ["-r", "-s"]})
    assert expected == ["a", "/t m p/x", "-r", "-s", "b c"]
    assert fill_command("a {options}", {"options": []}) == ["a"]


def test_whole_placeholder_of_a_number_becomes_a_number() -> None:
    tree = fill_tree({"size": "{size}", "list": ["{size}b"]}, {"size": 7})
    assert tree == {"size": 7, "list": ["7b"]}


def test_port_stays_text_because_qapi_wants_a_string() -> None:
    assert fill_tree({"port": "{port}"}, {"port": 7}) == {"port": "7"}


def test_a_machine_without_what_a_target_needs_is_a_reason(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    needs = "needs: [root, /no/device, /dev/null]\n"
    file.write_text(f"{GOOD}programs: [no-such-server, sh]\ninstall: mine\n{needs}")
    assert load(file).not_here() == (
        "target mine needs root",
        "target mine needs /no/device, which does not exist",
        "program no-such-server is not installed; run: ./check --install --with mine",
    )


def test_a_target_that_needs_nothing_can_run_here(file: Path) -> None:
    file.write_text(GOOD + "programs: [sh]\ninstall: mine\nneeds: [/dev/null]\n")
    assert load(file).not_here() == ()


def test_needs_takes_root_or_a_path(file: Path) -> None:
    file.write_text(GOOD + "needs: [nbd.ko]\n")
    with pytest.raises(UsageError, match=r"needs\.0: use root, or the absolute path"):
        load(file)


@pytest.mark.parametrize(
    ("ready", "port", "command"),
    [
        ("port: 10819", "10819", None),
        ('port: "1{port}"', "1{port}", None),
        ("command: 'test -S {socket}'", None, "test -S {socket}"),
    ],
)
def test_ready_takes_a_port_or_a_command(
    file: Path, ready: str, port: str | None, command: str | None
) -> None:
    file.write_text(GOOD.replace('socket: "{socket}"', ready))
    found = load(file).ready
    assert found is not None
    assert (found.port, found.command) == (port, command)


@pytest.mark.parametrize("within", ["5", "5.0", "5 s", "5s", "5000 ms"])
def test_times_are_seconds_by_default(file: Path, within: str) -> None:
    file.write_text(GOOD.replace("500 ms", within))
    found = load(file).ready
    assert found is not None
    assert found.within == 5.0


@pytest.mark.parametrize(
    ("version", "versions", "fails"),
    [
        ("3.24", ">=3.24 <3.27", True),
        ("3.26.9", ">=3.24 <3.27", True),
        ("3.27", ">=3.24 <3.27", False),
        ("3.9", ">=3.24", False),
        ("3.24.0", "==3.24", True),
        ("3.24", ">3, !=3.25", True),
        ("3.25", ">3, !=3.25", False),
    ],
)
def test_deviation_is_expected_in_its_range_of_versions(
    file: Path, version: str, versions: str, fails: bool
) -> None:
    text = GOOD.replace("as-hole}", f"as-hole, versions: '{versions}'}}")
    file.write_text(f"{text}version: echo server {version} (2026.1)\n")
    description = load(file)
    assert description.server_version() == version
    assert (description.expected_deviation("017_x", "raw") is not None) is fails


@pytest.mark.parametrize(
    ("installed", "qemu", "versions", "fails"),
    [
        ("7.2.22", "<10.0", ">=1", True),
        ("10.0.13", "<10.0", ">=1", False),
        ("7.2.22", "<10.0", ">=3", False),
        ("10.0.13", ">=10.0", ">=3", False),
    ],
)
def test_deviation_is_expected_in_its_range_of_versions_of_qemu(
    file: Path, installed: str, qemu: str, versions: str, fails: bool
) -> None:
    program = file.parent / "qemu-img"
    program.write_text(
        f"#!/bin/sh\necho 'qemu-img version {installed} (Debian 1:{installed}+ds-0)'\n"
    )
    program.chmod(0o755)
    text = GOOD.replace("as-hole}", f"as-hole, qemu: '{qemu}', versions: '{versions}'}}")
    file.write_text(f"{text}version: echo server 2.0\n")
    description = load(file).model_copy(update={"programs": {"qemu-img": str(program)}})
    assert (description.expected_deviation("017_x", "raw") is not None) is fails


@pytest.mark.parametrize(
    ("command", "expected"),
    [("echo none", "the output has no version number"), ("no-such-server -V", "no such program")],
)
def test_version_that_cannot_be_found_is_a_setup_error(
    file: Path, command: str, expected: str
) -> None:
    file.write_text(f"{GOOD}version: {command}\n")
    with pytest.raises(SetupError, match=f"target mine: version: .*{expected}"):
        load(file).server_version()


def test_profile_waives_policies_by_name(file: Path) -> None:
    file.write_text(f"{GOOD}waives: [discard-old-or-zero]\n")
    description = load(file)
    assert description.waived("discard-old-or-zero")
    assert not description.waived("fresh-volume-reads-zero")
    with pytest.raises(KeyError):
        description.waived("no-such-policy")


def test_undefined_fresh_volumes_waive_their_policy(file: Path) -> None:
    file.write_text(f"{GOOD}fresh: undefined\n")
    assert load(file).waived("fresh-volume-reads-zero")


def test_deviation_may_name_a_case_of_other_suites(file: Path, tmp_path: Path) -> None:
    file.write_text(GOOD.replace('"17"', '"9876"'))
    with pytest.raises(UsageError, match="unknown case '9876'"):
        load(file, tmp_path)
    (tmp_path / "9876_mine.py").touch()
    assert load(file, tmp_path).expected_deviation("9876_mine", "raw") is not None
    assert load(TARGETS / "qemu-nbd.yaml", tmp_path).deviations


NODES = """\
name: mine
about: a test
blockdev: {driver: nbd}
nodes:
  - {name: a, start: serve a, nbd: "nbd:", store: /a, address: /a.sock, leads: leads}
  - {name: b, start: serve b, nbd: "nbd:", store: /b, address: /b.sock, leads: leads}
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("address: /b.sock", "address: 10.0.0.2", "use IPv4 addresses for all nodes, or for none"),
        ("address: /b.sock", "address: host", "use the path of a Unix socket, or an IPv4 address"),
        ("address: /b.sock, leads: leads", "address: /b.sock", "node b requires leads:"),
        ("name: b,", "name: a,", "two nodes have the same name"),
        ("leads: leads}\n  - ", "leads: leads, links: {c: /l}}\n  - ", "must name other nodes"),
    ],
)
def test_nodes_must_fit_together(file: Path, old: str, new: str, message: str) -> None:
    file.write_text(NODES)
    assert [node.has_ip for node in load(file).nodes] == [False, False]
    assert old in NODES
    file.write_text(NODES.replace(old, new, 1))
    with pytest.raises(UsageError, match=message):
        load(file)


def test_a_command_for_the_leader_needs_nodes(file: Path) -> None:
    file.write_text(GOOD + "leader: echo a\n")
    with pytest.raises(UsageError, match="leader: requires nodes:"):
        load(file)
