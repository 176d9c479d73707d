"""Filters: replace only what may differ between two correct runs.

All are pure. The replacements are those of qemu-iotests (TEST_DIR, SOCK_DIR, IMGFMT, NODE_NAME,
``X ops; XX:XX:XX.X``), so that its users can read the golden files. A filter that replaces too much
hides bugs: tests/qbdcheck/runner/test_filters.py shows for each filter what it must not change.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Filter = Callable[[str], str]

_UUID = re.compile(r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b")
_NODE_NAME = re.compile(r"#block\d+\b")
_THROUGHPUT = re.compile(
    r"\b\d+ ops; [0-9:.]+(?: sec)? "
    r"\((?:[0-9.]+|inf) (?:[KMGTPE]iB|bytes)/sec and (?:[0-9.]+|inf) ops/sec\)"
)
_CASE_WORD = re.compile(r"\bqc[0-9a-f]{8}-(?=[a-z])")
_BENCH_TIME = re.compile(r"Run completed in [0-9.]+ seconds\.")
_DATE = re.compile(r"\b\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|[+-]\d{2}:?\d{2})?")
_TIMESTAMP = re.compile(
    r'"timestamp": \{\s*"(?:seconds|microseconds)": \d+,\s*"(?:seconds|microseconds)": \d+\s*\}'
)
_PID = re.compile(r"\b(?P<word>pid|PID|process)(?P<between>[ =:]+)\d+\b")
_DISK_SIZE = re.compile(r"^(?P<head>\s*disk size: )[0-9.]+(?: ?[KMGT]i?B| bytes)?$", re.MULTILINE)
_ACTUAL_SIZE = re.compile(r'"actual-size": \d+')
_JSON_PLACE = re.compile(r"(?<=: )\d+:\d+: (?=JSON parse error, )")
_QEMU_VERSION = re.compile(
    r"\b(?P<program>(?:qemu-[a-z0-9_-]+|QEMU emulator)) version \d+\.\d+\.\d+(?: \([^)]*\))?"
)
_QMP_VERSION = re.compile(
    r'"qemu": \{\s*(?:"(?:major|minor|micro)": \d+,?\s*){3}\},\s*"package": "[^"]*"'
)


def filter_uuids(text: str) -> str:
    """Replace UUIDs by ``UUID``."""
    return _UUID.sub("UUID", text)


def filter_node_names(text: str) -> str:
    """Replace node names that QEMU generated (``#block123``) by ``NODE_NAME``."""
    return _NODE_NAME.sub("NODE_NAME", text)


def filter_throughput(text: str) -> str:
    """Replace qemu-io's time, speed and operation count by X, as in qemu-iotests.

    The operation itself (``wrote 4096/4096 bytes at offset 0``) stays.
    """
    text = _THROUGHPUT.sub("X ops; XX:XX:XX.X (XXX YYY/sec and XXX ops/sec)", text)
    return _BENCH_TIME.sub("Run completed in X seconds.", text)


def filter_dates(text: str) -> str:
    """Replace dates with a time of day by ``DATE``, and QMP timestamps by ``TIMESTAMP``."""
    return _TIMESTAMP.sub('"timestamp": "TIMESTAMP"', _DATE.sub("DATE", text))


def filter_pids(text: str) -> str:
    """Replace numbers after the words pid and process by ``PID``."""
    return _PID.sub(r"\g<word>\g<between>PID", text)


def filter_disk_usage(text: str) -> str:
    """Replace the disk usage of an image (``disk size:``, ``actual-size``) by ``SIZE``.

    Virtual sizes stay, because cases check them.
    """
    text = _DISK_SIZE.sub(r"\g<head>SIZE", text)
    return _ACTUAL_SIZE.sub('"actual-size": SIZE', text)


def filter_versions(text: str) -> str:
    """Replace versions of QEMU programs by ``VERSION``; version 3 of a qcow2 file stays."""
    text = _QEMU_VERSION.sub(r"\g<program> version VERSION", text)
    return _QMP_VERSION.sub('"qemu": VERSION, "package": PACKAGE', text)


def filter_json_errors(text: str) -> str:
    """Give errors of QEMU's JSON parser the words of QEMU 10: QEMU 11 adds line and column."""
    end = "JSON parse error, premature "
    return _JSON_PLACE.sub("", text).replace(f"{end}end of input", f"{end}EOI")


def filter_case_words(text: str) -> str:
    """Remove the word of a case from names on a server of all cases (``{case}`` of a profile)."""
    return _CASE_WORD.sub("", text)


def filter_path(text: str, path: str, word: str) -> str:
    """Replace the directory `path` and its URL-quoted form by `word`, also at the start of a path.

    A longer name that only starts with `path` is another file and stays.
    """
    path = path.rstrip("/")
    if not path:
        return text
    for form in {path, path.replace("/", "%2F"), path.replace("/", "%2f")}:
        text = re.sub(rf"{re.escape(form)}(?![\w.-])", word, text)
    return text


FILTERS: tuple[Filter, ...] = (
    filter_throughput,
    filter_dates,
    filter_uuids,
    filter_node_names,
    filter_pids,
    filter_disk_usage,
    filter_versions,
    filter_json_errors,
    filter_case_words,
)
"""The filters that do not depend on the run, in the order of their application."""


@dataclass(frozen=True)
class Filters:
    """All filters of a running case.

    :ivar scratch: its scratch directory, which becomes TEST_DIR.
    :ivar replacements: further exact paths and names with their replacements, such as a target's
        directory or a generated volume name. The longest is replaced first.
    """

    scratch: Path | None = None
    replacements: tuple[tuple[str, str], ...] = ()

    def apply(self, text: str) -> str:
        """Return `text` with all filters applied."""
        paths = list(self.replacements)
        if self.scratch is not None:
            paths.append((str(self.scratch), "TEST_DIR"))
        for path, word in sorted(paths, key=lambda pair: -len(pair[0])):
            text = filter_path(text, path, word)
        for one in FILTERS:
            text = one(text)
        return text
