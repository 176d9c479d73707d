"""The description of a request's life names functions that exist."""

from __future__ import annotations

import re

import reference_backend
from qbdcheck.files import ROOT

SOURCES = [
    path for name in ("reference_backend", "blockio") for path in (ROOT / name).rglob("*.py")
]


def defined() -> set[str]:
    """Return the names of all modules, classes and functions, and of attributes of instances."""
    names = {path.stem for path in SOURCES}
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        names.update(re.findall(r"(?:def|class) (\w+)", text))
        names.update(re.findall(r"self\.(\w+)(?::[^=\n]+)? = ", text))
    return names


def test_the_life_of_a_request_names_what_exists() -> None:
    text = reference_backend.__doc__
    assert text is not None
    named = re.findall(r"``([\w.]+)``", text)
    assert len(named) > 30
    known = defined()
    assert [
        name
        for name in named
        if not set(name.split(".")) <= known | {"nbd", "store", "blockio", "vhost_user"}
    ] == []
