"""`./check completion bash|zsh`: print a completion script, made from the parser of the flags.

    eval "$(./check completion bash)"       in ~/.bashrc, or in a shell
    ./check completion zsh > ~/.zfunc/_qbdcheck

The script completes flags, their values, subcommands, cases, groups, targets and files.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from qbdcheck.arguments import build_parser
from qbdcheck.catalogue.catalogue import list_cases
from qbdcheck.catalogue.groups import load_groups
from qbdcheck.command_help import COMMANDS
from qbdcheck.errors import UsageError
from qbdcheck.exit_code import ExitCode

SHELLS = ("bash", "zsh")
PROGRAMS = ("check", "qbdcheck")
_FILES = ("FILE", "DIR", "PATH")
"""Names of values that are paths."""


def main(arguments: Sequence[str], suites_dir: Path, targets_dir: Path) -> int:
    """Print the script of a shell; return 0.

    :raise UsageError: the shell is not one of `SHELLS`.
    """
    if len(arguments) != 1 or arguments[0] not in SHELLS:
        raise UsageError(f"usage: ./check completion {'|'.join(SHELLS)}")
    make = bash if arguments[0] == "bash" else zsh
    print(make(Words.of(suites_dir, targets_dir)), end="")
    return ExitCode.GREEN


class Words:
    """What flags and their values are."""

    def __init__(self, cases: Iterable[str], groups: Iterable[str], targets: Iterable[str]) -> None:
        self.cases = list(cases)
        self._groups = list(groups)
        self._targets = list(targets)
        self.actions = [
            action
            for action in build_parser()._actions  # noqa: SLF001
            if action.option_strings and action.help != argparse.SUPPRESS
        ]

    @classmethod
    def of(cls, suites_dir: Path, targets_dir: Path) -> Words:
        """Return the words of these directories.

        :raise UsageError: there are no suites.
        """
        return cls(
            (case.case_id for case in list_cases(suites_dir)),
            load_groups(suites_dir),
            sorted(path.stem for path in targets_dir.glob("*.yaml")),
        )

    def values(self, action: argparse.Action) -> tuple[list[str], bool]:
        """Return the words that a flag's value can be, and whether it can be a file."""
        if action.choices is not None:
            return list(map(str, action.choices)), False
        if action.dest == "target":
            return self._targets, True
        if action.dest in ("groups", "exclude_groups"):
            return self._groups, False
        if action.dest in ("exclude_cases", "start_from"):
            return self.cases, False
        return [], any(word in str(action.metavar).split(":")[0] for word in _FILES)


def bash(words: Words) -> str:
    """Return the script for bash."""
    branches = []
    for action in words.actions:
        if action.nargs == 0:
            continue
        listed, files = words.values(action)
        kinds = [f"-W {shlex.quote(' '.join(listed))}"] * bool(listed) + ["-f"] * files
        reply = f'mapfile -t COMPREPLY < <(compgen {" ".join(kinds)} -- "$word")'
        done = reply if kinds else "COMPREPLY=()"
        branches.append(f"        {'|'.join(action.option_strings)}) {done}; return ;;")
    flags = " ".join(flag for action in words.actions for flag in action.option_strings)
    first = " ".join((*COMMANDS, *words.cases))
    return f"""\
# Completion of ./check for bash: eval "$(./check completion bash)"
_qbdcheck() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}}
    local flags={shlex.quote(flags)}
    local first={shlex.quote(first)}
    local cases={shlex.quote(" ".join(words.cases))}
    case $before in
{chr(10).join(branches)}
    esac
    case ${{COMP_WORDS[1]}} in
        completion)
            if ((COMP_CWORD > 1)); then
                mapfile -t COMPREPLY < <(compgen -W "{" ".join(SHELLS)}" -- "$word")
                return
            fi ;;
        {"|".join(COMMANDS)})
            if ((COMP_CWORD > 1)) && [[ $word != -* ]]; then
                mapfile -t COMPREPLY < <(compgen -f -- "$word")
                return
            fi ;;
    esac
    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$word")
    elif ((COMP_CWORD == 1)); then
        mapfile -t COMPREPLY < <(compgen -W "$first" -- "$word")
    else
        mapfile -t COMPREPLY < <(compgen -W "$cases" -- "$word")
    fi
}}
complete -F _qbdcheck {" ".join(PROGRAMS)}
"""


def zsh(words: Words) -> str:
    """Return the script for zsh."""
    lines = []
    for action in words.actions:
        text = _zsh_text(" ".join((action.help or "").replace("%%", "%").split()))
        value = ""
        if action.nargs != 0:
            listed, files = words.values(action)
            name = _zsh_text(str(action.metavar or action.dest))
            alternatives = f"({' '.join(listed)})" if listed else ""
            if listed and files:
                alternatives = f"{{compadd -- {' '.join(listed)}; _files}}"
            value = f":{name}:" + (alternatives or "_files" * files)
        repeats = "*" if isinstance(action, argparse._AppendAction) else ""  # noqa: SLF001
        lines += [shlex.quote(f"{repeats}{flag}[{text}]{value}") for flag in action.option_strings]
    first = shlex.quote(f"1: :({' '.join((*COMMANDS, *words.cases))})")
    rest = shlex.quote("*: :_qbdcheck_rest")
    arguments = " \\\n        ".join([*lines, first, rest])
    return f"""\
#compdef {" ".join(PROGRAMS)}
# Completion of ./check for zsh: a file _qbdcheck in a directory of $fpath, or eval it.
_qbdcheck_rest() {{
    case $line[1] in
        completion) compadd -- {" ".join(SHELLS)} ;;
        {"|".join(COMMANDS)}) _files ;;
        *) compadd -- {" ".join(words.cases)} ;;
    esac
}}
_qbdcheck() {{
    local line
    _arguments \\
        {arguments}
}}
if [[ $funcstack[1] == _qbdcheck ]]; then
    _qbdcheck "$@"
else
    compdef _qbdcheck {" ".join(PROGRAMS)}
fi
"""


def _zsh_text(text: str) -> str:
    """Return a description in which nothing is special to _arguments."""
    return text.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")
