"""`./check rules`: look at rules files, and turn them into other forms.

    ./check rules check FILE...               say what is wrong, with line and key
    ./check rules explain FILE                say in words what the rules do
    ./check rules convert FILE --to FORM      blkdebug-conf, blockdev-json, nbdkit or yaml
    ./check rules schema                      the JSON Schema for editors (docs/rules.schema.json)

A FILE that ends in .conf or .ini is read as QEMU's blkdebug.conf, any other as YAML; - is standard
input, in YAML.
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

FORMS = ("blkdebug-conf", "blockdev-json", "nbdkit", "yaml")
USAGE = (
    "usage: ./check rules check FILE... | explain FILE | "
    f"convert FILE --to {'|'.join(FORMS)} [--image NODE] | schema"
)


def main(arguments: Sequence[str]) -> int:
    """Carry out `./check rules` with these arguments; print the result; 0.

    :raise UsageError: the arguments or a file are wrong; names line, key and what is allowed.
    """
    verb, *rest = arguments or [""]
    command = _VERBS.get(verb)
    if command is None:
        raise UsageError(USAGE)
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
    words, options = list(arguments), {"--to": "", "--image": "IMAGE"}
    for flag in options:
        if flag in words:
            at = words.index(flag)
            options[flag] = words[at + 1] if at + 1 < len(words) else ""
            del words[at : at + 2]
    if len(words) != 1 or options["--to"] not in FORMS or not options["--image"]:
        raise UsageError(USAGE)
    rules = read(words[0])
    try:
        return _written(rules, options["--to"], options["--image"])
    except RuleError as error:
        raise UsageError(f"{words[0]}: {error}") from None


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
    """Return the rules of a file, in the form that its name says; ``-`` is standard input.

    :raise UsageError: it cannot be read, or is wrong.
    """
    from injectors.rules import parse_ini, parse_yaml

    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{name}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{name}: is not UTF-8 text") from None
    is_conf = Path(name).suffix in {".conf", ".ini"}
    reader = parse_ini.read if is_conf else parse_yaml.read
    try:
        return reader(text, "standard input" if name == "-" else name)
    except RuleSyntaxError as error:
        raise UsageError(str(error)) from None


_VERBS: dict[str, Callable[[Sequence[str]], str]] = {
    "check": _check,
    "explain": _explain,
    "convert": _convert,
    "schema": _schema,
}
