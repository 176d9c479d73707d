"""Filters: turn what may differ between two right runs into fixed words, and nothing else.

All are pure. The fixed words are those of qemu-iotests (TEST_DIR, SOCK_DIR, IMGFMT, NODE_NAME,
``X ops; XX:XX:XX.X``), so that its users can read our golden files. A filter that hides more than
it says hides a bug: tests/qbdcheck/runner/test_filters.py shows for each what it must leave alone.
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
_BENCH_TIME = re.compile(r"Run completed in [0-9.]+ seconds\.")
_DATE = re.compile(r"\b\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|[+-]\d{2}:?\d{2})?")
_TIMESTAMP = re.compile(
    r'"timestamp": \{\s*"(?:seconds|microseconds)": \d+,\s*"(?:seconds|microseconds)": \d+\s*\}'
)
_PID = re.compile(r"\b(?P<word>pid|PID|process)(?P<between>[ =:]+)\d+\b")
_DISK_SIZE = re.compile(r"^(?P<head>\s*disk size: )[0-9.]+(?: ?[KMGT]i?B| bytes)?$", re.MULTILINE)
_ACTUAL_SIZE = re.compile(r'"actual-size": \d+')
_QEMU_VERSION = re.compile(
    r"\b(?P<program>(?:qemu-[a-z0-9_-]+|QEMU emulator)) version \d+\.\d+\.\d+(?: \([^)]*\))?"
)
_QMP_VERSION = re.compile(
    r'"qemu": \{\s*(?:"(?:major|minor|micro)": \d+,?\s*){3}\},\s*"package": "[^"]*"'
)


def filter_uuids(text: str) -> str:
    """UUIDs become ``UUID``."""
    return _UUID.sub("UUID", text)


def filter_node_names(text: str) -> str:
    """Node names that QEMU made up (``#block123``) become ``NODE_NAME``; chosen names stay."""
    return _NODE_NAME.sub("NODE_NAME", text)


def filter_throughput(text: str) -> str:
    """qemu-io's time and speed become X; the count of operations goes too, as in qemu-iotests.

    What was done (``wrote 4096/4096 bytes at offset 0``) stays.
    """
    text = _THROUGHPUT.sub("X ops; XX:XX:XX.X (XXX YYY/sec and XXX ops/sec)", text)
    return _BENCH_TIME.sub("Run completed in X seconds.", text)


def filter_dates(text: str) -> str:
    """Dates with a time of day, and QMP timestamps, become ``DATE`` and ``TIMESTAMP``."""
    return _TIMESTAMP.sub('"timestamp": "TIMESTAMP"', _DATE.sub("DATE", text))


def filter_pids(text: str) -> str:
    """Numbers after the words pid or process become ``PID``."""
    return _PID.sub(r"\g<word>\g<between>PID", text)


def filter_disk_usage(text: str) -> str:
    """Space that an image takes on the host (``disk size:``, ``actual-size``) becomes ``SIZE``.

    Virtual sizes stay: they are what the case is about.
    """
    text = _DISK_SIZE.sub(r"\g<head>SIZE", text)
    return _ACTUAL_SIZE.sub('"actual-size": SIZE', text)


def filter_versions(text: str) -> str:
    """Versions of QEMU programs become ``VERSION``; version 3 of a qcow2 file stays."""
    text = _QEMU_VERSION.sub(r"\g<program> version VERSION", text)
    return _QMP_VERSION.sub('"qemu": VERSION, "package": PACKAGE', text)


def filter_path(text: str, path: str, word: str) -> str:
    """The directory `path` and its URL-quoted form become `word`; what is below it stays.

    A longer name that only begins like `path` is another file and stays.
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
)
"""Those that need no knowledge of the run, in the order in which they are applied."""


@dataclass(frozen=True)
class Filters:
    """All filters, with what they must know of the running case.

    ``replacements`` maps further exact paths and names to words, longest first when applied: a
    target's directory, a volume's made-up name.
    """

    scratch: Path | None = None
    replacements: tuple[tuple[str, str], ...] = ()

    def apply(self, text: str) -> str:
        """`text` with everything filtered."""
        paths = list(self.replacements)
        if self.scratch is not None:
            paths.append((str(self.scratch), "TEST_DIR"))
        for path, word in sorted(paths, key=lambda pair: -len(pair[0])):
            text = filter_path(text, path, word)
        for one in FILTERS:
            text = one(text)
        return text
