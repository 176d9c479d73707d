"""`./check rules`: check rules files, explain them, and convert them to other forms.

    ./check rules check FILE...               report errors with line and key
    ./check rules explain FILE                describe in words what the rules do
    ./check rules convert FILE --to FORM      blkdebug-conf, blockdev-json, nbdkit or yaml
    ./check rules schema                      the JSON Schema for editors (docs/rules.schema.json)

A FILE may have any of the four forms; its contents decide, not its name. - is standard input.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from injectors.rules.compile import to_blockdev
from injectors.rules.errors import RuleError, RuleSyntaxError
from injectors.rules.explain import explain
from injectors.rules.model import RuleSet
from qbdcheck.errors import UsageError
from qbdcheck.files import COMMAND
from qbdcheck.suggestions import suggestion

FORMS = ("blkdebug-conf", "blockdev-json", "nbdkit", "yaml")
USAGE = (
    f"usage: {COMMAND} rules check FILE... | explain FILE | "
    f"convert FILE --to {'|'.join(FORMS)} [--image NODE] | schema"
)


def main(arguments: Sequence[str]) -> int:
    """Carry out `./check rules` with these arguments, print the result, and return 0.

    :raise UsageError: an argument or a file is wrong; names line, key and what is allowed.
    """
    verb, *rest = arguments or [""]
    command = _VERBS.get(verb)
    if command is None:
        near = suggestion(verb, _VERBS)
        raise UsageError(
            f"unknown subcommand rules {verb}; did you mean {near}?" if near else USAGE
        )
    sys.stdout.write(command(rest))
    return 0


def _check(arguments: Sequence[str]) -> str:
    if not arguments:
        raise UsageError(USAGE)
    problems, fine = [], ""
    for name in arguments:
        try:
            rules = read(name)
        except UsageError as error:
            problems.append(str(error))
        else:
            fine += f"{name}: {_count(rules)}\n"
    if problems:
        raise UsageError("\n".join(problems))
    return fine


def _count(rules: RuleSet) -> str:
    number, states = len(rules.rules), len(rules.states)
    text = f"{number} rule{'s' * (number != 1)}"
    return text if not states else f"{text}, {states} change{'s' * (states != 1)} of state"


def _explain(arguments: Sequence[str]) -> str:
    if len(arguments) != 1:
        raise UsageError(USAGE)
    return explain(read(arguments[0]))


def _convert(arguments: Sequence[str]) -> str:
    files, options = list(arguments), {"--to": "", "--image": "IMAGE"}
    for flag in options:
        if flag in files:
            at = files.index(flag)
            options[flag] = files[at + 1] if at + 1 < len(files) else ""
            del files[at : at + 2]
    if len(files) != 1 or options["--to"] not in FORMS or not options["--image"]:
        raise UsageError(USAGE)
    rules = read(files[0])
    try:
        return _written(rules, options["--to"], options["--image"])
    except RuleError as error:
        raise UsageError(f"{files[0]}: {error}") from None


def _written(rules: RuleSet, form: str, image: str) -> str:
    if form == "blockdev-json":
        return json.dumps(to_blockdev(rules, image), indent=2) + "\n"
    if form == "blkdebug-conf":
        from injectors.rules import parse_ini

        return parse_ini.write(rules)
    if form == "nbdkit":
        from injectors.rules.nbdkit import to_nbdkit

        return shlex.join(to_nbdkit(rules)) + "\n"
    from injectors.rules import parse_yaml

    return parse_yaml.write(rules)


def _schema(arguments: Sequence[str]) -> str:
    if arguments:
        raise UsageError(USAGE)
    from injectors.rules import schema

    return schema.text()


def read(name: str) -> RuleSet:
    """Return the rules of a file, in the form of its contents; ``-`` is standard input.

    A note on standard error names the limits of a blkdebug node, which are no rules.

    :raise UsageError: the file cannot be read, or is wrong.
    """
    from injectors.rules import files

    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{name}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{name}: is not UTF-8 text") from None
    source = "standard input" if name == "-" else name
    try:
        rules = files.read(text, source)
    except RuleSyntaxError as error:
        raise UsageError(str(error)) from None
    limits = files.limits(text)
    if limits:
        note = f"note: {source}: limits of the node are not rules, left out: {', '.join(limits)}"
        print(note, file=sys.stderr)
    return rules


_VERBS: dict[str, Callable[[Sequence[str]], str]] = {
    "check": _check,
    "explain": _explain,
    "convert": _convert,
    "schema": _schema,
}
