"""The table of events: complete, current, and what our own place fires is what QEMU fires."""

from __future__ import annotations

import importlib.util
import re
from types import ModuleType
from typing import Any

import pytest

from injectors.layer import events_of_command
from injectors.rules.events import EVENTS, event_name
from qbdcheck.files import ROOT

Measured = tuple[str, dict[str, list[str]], dict[Any, list[str]]]
PAGE = ROOT / "docs/blkdebug-events.md"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "blkdebug_events", ROOT / "tools/docs/blkdebug_events.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def measured(script: ModuleType) -> Measured:
    """Return the events that QEMU fires for the requests of NBD, with raw above blkdebug."""
    words = {"read written data": "READ", "overwrite": "WRITE", "write -z": "WRITE_ZEROES",
             "discard": "TRIM", "block status": "BLOCK_STATUS",
             "write then flush": "WRITE FLUSH"}  # fmt: skip
    chosen = [one for one in script.OPERATIONS if one.graph == "raw" and one.words in words]
    version, found = script.measure(chosen)
    return version, {words[one.words]: events for one, events in found.items()}, found


def test_the_layer_fires_the_events_of_qemu_in_the_same_order(measured: Measured) -> None:
    _, found, _ = measured
    ours = {name: [*before, after] if after else [*before]
            for name, _, before, after in events_of_command()}  # fmt: skip
    ours["WRITE FLUSH"] = ours["WRITE"] + ours["FLUSH"]
    assert len(found) == 6
    assert {name: ours[name] for name in found} == found


def test_the_page_has_all_events_and_is_what_the_installed_qemu_does(
    script: ModuleType, measured: Measured
) -> None:
    version, _, found = measured
    text = PAGE.read_text()
    rows = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    assert rows == list(EVENTS)
    if f"QEMU: {version}" in text:
        for operation, events in found.items():
            assert f"| {operation.words} | {script._listed(operation, events)} |" in text


def test_old_names_of_events_are_accepted() -> None:
    assert event_name("l1_grow.alloc_table") == "l1_grow_alloc_table"
    with pytest.raises(ValueError, match="l1_grow"):
        event_name("l1_grow")
