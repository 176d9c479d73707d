"""The fast parser of ``serve`` and argparse have the same results."""

import pytest

from reference_backend.fast_arguments import DEFAULTS, parse_fast
from reference_backend.parser import parser

PLAIN = [
    "--memory 8M --socket s",
    "--memory 8388608 --export-name vol --socket /d/s --control /d/c",
    "--memory 1G --export-name a=1M --export-name b --listen 127.0.0.1:0 --read-only",
    "--image f --socket s --min-block 512 --preferred-block 4k --max-block 1M",
    "--pool d --socket s --layer m:C --layer m:D:k=v --pid-file p --read-only --read-only",
]
LEFT_TO_ARGPARSE = [
    "",
    "--memory 8M",
    "--socket s",
    "--memory 8M --socket",
    "--memory 8M --pool d --socket s",
    "--memory 8M --socket s --listen 127.0.0.1:0",
    "--memory 8M --socket s --socket t",
    "--memory much --socket s",
    "--memory -1 --socket s",
    "--memory=8M --socket s",
    "--mem 8M --socket s",
    "--memory 8M --socket s --no-df",
    "--memory 8M --socket s --help",
    "--memory 8M --socket s extra",
]


@pytest.mark.parametrize("line", PLAIN)
def test_simple_arguments_are_parsed_like_by_argparse(line: str) -> None:
    found = parse_fast(line.split())
    assert found is not None
    assert vars(found) == vars(parser().parse_args(["serve", *line.split()]))


@pytest.mark.parametrize("line", LEFT_TO_ARGPARSE)
def test_other_arguments_are_left_to_argparse(line: str) -> None:
    assert parse_fast(line.split()) is None


def test_defaults_are_those_of_argparse() -> None:
    known = vars(parser().parse_args(["serve", "--memory", "8M", "--socket", "s"]))
    assert {**known, "memory": None, "socket": None} == DEFAULTS
