"""Real servers that die of a request by abort() or SIGSEGV: the report says how and of which."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from qbdcheck.files import ROOT
from qbdcheck.programs.requests_sent import OK, Sent, fatal_request
from qbdcheck.targets.server_death import reason_in

DYING = '''
"""Layers that end the server at a write of 1536 bytes."""
import ctypes, os, sys
from blockio.layers import Command

class Abort:
    def handle(self, request, below):
        if request.command is Command.WRITE and request.length == 1536:
            sys.stderr.write("pool.c:71: grow: Assertion `blocks > 0' failed.\\n")
            sys.stderr.write("waiting for the end of 2 threads\\n")
            sys.stderr.flush()
            os.abort()
        return below(request)

class Segfault:
    def handle(self, request, below):
        if request.command is Command.WRITE and request.length == 1536:
            ctypes.string_at(0)
        return below(request)
'''
CASE = '''
"""This case checks that a server survives small writes."""
from qbdcheck.kit import case

@case(groups="quick")
def test(disk, {fixture}):
    with {fixture}(disk) as io:
        io.write(0, 512)
        io.flush()
        io.write(8192, 1536)
        io.write(65536, 512)
'''
RAW_CASE = '''
"""This case checks that a server survives small writes, which it sends as raw requests."""
from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.nbd_requests import call_for_errno

@case(groups="quick")
def test(disk, {fixture}):
    with {fixture}(disk) as client:
        for offset, length in ((0, 512), (512, 512), (8192, 1536)):
            call_for_errno(client, Command.WRITE, offset, length, payload=bytes(length))
'''


def run(place: Path, layer: str, fixture: str) -> dict[str, Any]:
    """Run one case against a server that dies; return its event ``case_ended``."""
    suites = place / "suites" / "iotests"
    suites.mkdir(parents=True)
    (suites.parent / "groups.yaml").write_text("quick: all of them\n")
    text = RAW_CASE if fixture == "nbd" else CASE
    (suites / "001_survives.py").write_text(text.format(fixture=fixture).lstrip())
    (place / "dying.py").write_text(DYING.lstrip())
    profile = (ROOT / "targets" / "reference.yaml").read_text()
    profile = profile.replace("name: reference", "name: dying", 1)
    profile = profile.replace('"{root}"', json.dumps(f"{ROOT}:{place}"))
    profile = profile.replace("{options}", f"{{options}} --layer dying:{layer}", 1)
    (place / "dying.yaml").write_text(profile)
    done = subprocess.run(
        [sys.executable, "-m", "qbdcheck", "-t", str(place / "dying.yaml"), "1",
         f"--suites-dir={suites.parent}", f"--golden-dir={place}", f"--events={place}/events"],
        cwd=ROOT,
        env={**os.environ, "XDG_CACHE_HOME": str(place)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )  # fmt: skip
    events = [json.loads(line) for line in (place / "events").read_text().splitlines()]
    ended: dict[str, Any]
    (ended,) = [event for event in events if event["event"] == "case_ended"]
    assert ended["verdict"] == "fail", done.stdout
    ended["told"] = done.stdout
    ended["causes"] = events[-1]["causes"]
    return ended


ASSERTION = "was killed by SIGABRT (pool.c:71: grow: Assertion `blocks > 0' failed.)"


@pytest.mark.parametrize(
    ("layer", "fixture", "how", "request_"),
    [
        ("Abort", "nbd_io", ASSERTION,
         "WRITE of 1536 bytes at 8192 on the connection to disk"),
        ("Abort", "qemu_io", ASSERTION,
         "qemu-io write -s qemu-io.0.data 8192 1536"),
        ("Segfault", "nbd_io", "was killed by SIGSEGV",
         "WRITE of 1536 bytes at 8192 on the connection to disk"),
    ],
)  # fmt: skip
def test_a_server_that_dies_of_a_request(
    tmp_path: Path, layer: str, fixture: str, how: str, request_: str
) -> None:
    ended = run(tmp_path, layer, fixture)
    died = [finding for finding in ended["findings"] if finding["damage"] == "died"]
    assert died, ended
    assert died[0]["request"] == request_
    assert died[0]["remark"].startswith("server died: server ")
    assert how in died[0]["remark"]
    assert "waiting for the end" not in died[0]["remark"]
    assert died[0]["evidence"][0].endswith(
        "WRITE of 512 bytes at 0 on the connection to disk: ok"
    ) or (died[0]["evidence"][0].startswith("request: qemu-io write -s qemu-io.0.data 0 512: ok"))
    assert "no reply" in died[0]["evidence"][2] or "error" in died[0]["evidence"][2]
    assert how in ended["causes"][0]["title"]
    assert ended["causes"][0]["example"].startswith(request_)


def test_a_server_that_dies_of_a_raw_request(tmp_path: Path) -> None:
    ended = run(tmp_path, "Abort", "nbd")
    (died,) = [finding for finding in ended["findings"] if finding["damage"] == "died"]
    assert died["request"] == "WRITE of 1536 bytes at offset 8192"
    assert died["evidence"][0] == "request: WRITE of 512 bytes at offset 0: ok"
    assert ended["causes"][0]["example"].startswith(died["request"])


def test_the_request_that_a_server_died_of_is_the_first_without_success() -> None:
    sent = [Sent("a", OK), Sent("b", "Input/output error"), Sent("c", OK), Sent("d"), Sent("e")]
    assert fatal_request(sent) is sent[3]
    assert fatal_request(sent[:3]) is None
    assert fatal_request(()) is None


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("listening\nblk.c:9: f: Assertion `x' failed.\nAborted (core dumped)\n",
         "blk.c:9: f: Assertion `x' failed."),
        ("==7==ERROR: AddressSanitizer: heap-use-after-free on address 0x6\n  #0 f\n",
         "==7==ERROR: AddressSanitizer: heap-use-after-free on address 0x6"),
        ("thread 'main' panicked at src/io.rs:4:\n", "thread 'main' panicked at src/io.rs:4:"),
        ('Traceback (most recent call last):\n  File "s.py"\nValueError: no room\n',
         "ValueError: no room"),
        ("client connected\nclient disconnected\n", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_the_line_that_says_why_is_found(output: str, reason: str) -> None:
    assert reason_in(output) == reason
