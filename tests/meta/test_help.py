"""Each subcommand has its own help, which starts nothing."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from qbdcheck.arguments import build_parser, parse
from qbdcheck.command_help import COMMANDS, texts, topic_of
from tests.meta.toys import Toy

TOPICS = sorted({*COMMANDS, *texts()})


@pytest.mark.parametrize("topic", TOPICS)
def test_each_subcommand_prints_its_own_help_with_an_example(toy: Toy, topic: str) -> None:
    done = toy.command(topic, "--help")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"usage: ./check {topic}")
    assert re.search(r"^examples?:\n  \./check ", done.out, re.MULTILINE) or topic == "completion"
    assert max(map(len, done.out.splitlines())) <= 80
    assert toy.command(topic, "-h").out == done.out


def test_the_help_of_all_flags_fits_a_terminal(toy: Toy) -> None:
    assert max(map(len, toy.command("--help").out.splitlines())) <= 80


@pytest.mark.parametrize("topic", sorted(texts()))
def test_examples_and_flags_of_the_help_exist(
    topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {flag for action in build_parser()._actions for flag in action.option_strings}
    text = texts()[topic]
    for flag in re.findall(r"(?<![\w-])-{1,2}[a-z][a-z-]*", text):
        assert flag in {*known, "-j", "--image", "--to"} or flag[:2] in known, flag
    monkeypatch.setenv("QBDCHECK_LTP", "")
    for line in re.findall(r"^  \./check (.*?)(?:   .*| >.*)?$", text, re.MULTILINE):
        words = shlex.split(line)
        if not {"--tests", "--install"}.intersection(words):
            words = [word.replace("/opt/ltp", str(tmp_path)) for word in words]
            assert parse(words).subcommand == topic.removeprefix("--")


@pytest.mark.parametrize(
    ("line", "topic"),
    [
        ("fio --help", "fio"),
        ("fio x.fio -h", "fio"),
        ("-t mine.yaml fio -h", "fio"),
        ("-g fio -h", ""),
        ("--probe x.yaml --help", "--probe"),
        ("--install --doctor -h", "--install"),
        ("17 --help", ""),
        ("--help", ""),
        ("fio", ""),
    ],
)
def test_the_subcommand_is_found_among_flags(line: str, topic: str) -> None:
    assert topic_of(line.split()) == topic
