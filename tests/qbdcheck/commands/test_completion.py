"""Completion in a real bash, and in a real zsh where there is one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pexpect
import pytest

from qbdcheck.arguments import build_parser
from qbdcheck.cli import main
from qbdcheck.command_help import COMMANDS
from qbdcheck.files import ROOT

ASK = """
source "$1"
shift
complete -p check > /dev/null || exit 3
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_qbdcheck check "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main(["completion", "bash"]) == 0
    path = tmp_path / "completion.bash"
    path.write_text(capsys.readouterr().out)
    return path


def completed(script: Path, *words: str) -> list[str]:
    command = ["bash", "--norc", "-euc", ASK, "bash", str(script), "./check", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=script.parent, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout.split()


def test_bash_completes_flags_values_cases_and_files(script: Path) -> None:
    (script.parent / "mine.yaml").touch()
    assert completed(script, "--stop") == ["--stop-after"]
    assert completed(script, "017") == ["017_cache_modes"]
    assert completed(script, "-g", "conv") == ["convert"]
    assert completed(script, "-t", "reference-f") == ["reference-file"]
    assert completed(script, "-t", "mi") == ["mine.yaml"]
    assert completed(script, "-c", "write") == ["writeback", "writethrough"]
    assert completed(script, "--json", "mi") == ["mine.yaml"]
    assert completed(script, "--seed", "") == []
    assert completed(script, "hist") == ["history"]
    assert completed(script, "diff", "mi") == ["mine.yaml"]
    assert completed(script, "completion", "z") == ["zsh"]
    assert completed(script, "17", "018") == completed(script, "018")
    assert set(COMMANDS) < set(completed(script, ""))


def test_bash_completes_every_flag_of_the_help(script: Path) -> None:
    shown = completed(script, "-")
    for action in build_parser()._actions:
        if action.help != "==SUPPRESS==":
            assert set(action.option_strings) <= set(shown)
    assert "--suites-dir" not in shown


def test_a_real_shell_completes_a_word_on_tab(script: Path) -> None:
    shell = pexpect.spawn("bash", ["--norc", "-i"], encoding="utf-8", timeout=30, cwd=str(ROOT))
    shell.sendline(f"PS1='ready> '; source {script}")
    shell.expect("ready> $")
    shell.send("./check --until-f\t")
    shell.expect("./check --until-fail ")
    shell.sendintr()
    shell.close(force=True)


def test_an_unknown_shell_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "fish"]) == 2
    assert capsys.readouterr().err == "check: usage: ./check completion bash|zsh\n"


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_completes_a_flag_on_tab(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "zsh"]) == 0
    (tmp_path / "_qbdcheck").write_text(capsys.readouterr().out)
    shell = pexpect.spawn("zsh", ["-f", "-i"], encoding="utf-8", timeout=30, cwd=str(ROOT))
    shell.sendline("PS1='ready> '; unsetopt zle_bracketed_paste")
    shell.sendline(f"autoload -Uz compinit; compinit -u -D; source {tmp_path / '_qbdcheck'}")
    shell.sendline("echo set-$((40 + 2))")
    shell.expect("set-42")
    shell.send("./check --until-f\t")
    shell.expect("--until-fail")
    for typed, added in (
        ("-t reference-f", "ile"),
        ("-t SECUR", "ITY.md"),
        ("17 018_aio", "_modes"),
        ("inspect SECUR", "ITY.md"),
        ("completion z", "sh"),
    ):
        shell.send(f"\x15./check {typed}\t")
        shell.expect(added)
    shell.close(force=True)
