"""Mistakes in a profile as sentences, with the file, the line, the key and how to fix them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from qbdcheck.suggestions import suggestion
from qbdcheck.targets.marked_yaml import KeyPath

_TYPES = {
    "string_type": "not text; put it in quotes",
    "bool_type": "neither true nor false",
    "float_type": "not a number",
    "int_type": "not a whole number",
    "list_type": "not a list",
    "dict_type": "not a mapping",
    "model_type": "not a mapping of keys",
    "model_attributes_type": "not a mapping of keys",
}


def key_text(path: KeyPath) -> str:
    """Return a key with the keys above it: ``volume.create``."""
    return ".".join(str(part) for part in path)


def sentence_of_union(errors: Sequence[Mapping[str, Any]]) -> str:
    """Return the errors of all branches of one key, such as a word or a truth value, as one."""
    words = [one for one in errors if one["type"] == "literal_error"]
    if words and any(one["type"].startswith("bool_") for one in errors):
        return f"must be true, false or {words[0]['ctx']['expected']} (it is {words[0]['input']!r})"
    return sentence(errors[0])


def nearest(word: str, known: Iterable[str], introduction: str = "known") -> str:
    """Return a hint: the known word that is most like ``word``, or all known words."""
    names = list(known)
    near = suggestion(word, names)
    return f"did you mean '{near}'?" if near else f"{introduction}: {', '.join(names)}"


def sentence(error: Mapping[str, Any]) -> str:
    """Return one error of pydantic in plain words, with the value that was given."""
    kind, context = error["type"], error.get("ctx", {})
    sentences: dict[str, Callable[[], str]] = {
        "literal_error": lambda: f"must be {context['expected']}",
        "string_pattern_mismatch": lambda: (
            "use lower-case letters, digits, dots, dashes and underscores"
        ),
        "greater_than": lambda: f"must be greater than {context['gt']:g}",
        "less_than_equal": lambda: f"must be at most {context['le']:g}",
        "value_error": lambda: str(context["error"]),
    }
    text = sentences[kind]() if kind in sentences else _TYPES.get(kind, str(error["msg"]))
    given = error["input"]
    return text if isinstance(given, dict | list) else f"{text} (it is {given!r})"
