"""The style sheet of all pages."""

from __future__ import annotations

from pathlib import Path


def style() -> str:
    """Return the style sheet that the page of a run and the kill matrix have in common."""
    return Path(__file__).with_name("page.css").read_text(encoding="utf-8")
