"""docs/kit.md, the page for writers of cases."""

from __future__ import annotations

import re

import pytest

import qbdcheck.kit
from tools.docs import kit_page


def test_the_page_is_up_to_date() -> None:
    assert kit_page.PAGE.read_text(encoding="utf-8") == kit_page.page(), (
        "docs/kit.md is out of date: run tools/docs/kit_page.py"
    )


def test_the_page_has_each_module_and_general_name() -> None:
    text = kit_page.page()
    for name in qbdcheck.kit.MODULES:
        assert f"## `qbdcheck.kit.{name}`" in text
    for name in qbdcheck.kit.__all__:
        assert f"- `{name}" in text


def test_every_name_has_a_sentence() -> None:
    for line in kit_page.page().splitlines():
        described = not line.lstrip().startswith("- ") or ": " in line
        assert described, f"no docstring: {line}"


@pytest.mark.parametrize(
    ("docstring", "sentence"),
    [
        ("Return it. More of it.", "Return it."),
        ("Return ``a``\n    or b: see c.d.\n\n    More.", "Return `a` or b: see c.d."),
        ("Take some, e.g. two. And more.", "Take some, e.g. two."),
        (None, ""),
    ],
)
def test_first_sentences(docstring: str | None, sentence: str) -> None:
    assert kit_page.first_sentence(docstring) == sentence


def test_the_example_of_the_manual_is_a_real_case() -> None:
    manual = (kit_page.ROOT / "docs/case-writer.md").read_text(encoding="utf-8")
    found = re.search(r"```python\n# (\S+)\n(.*?)```", manual, re.DOTALL)
    assert found is not None
    assert (kit_page.ROOT / found[1]).read_text(encoding="utf-8") == found[2]
