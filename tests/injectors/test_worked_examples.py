"""docs/rules.md: each of its examples is run, against a real server, and does what it says."""

from __future__ import annotations

import errno
import re
import select
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from blockio.layers import Command, CommandFlag
from blockio.sizes import parse_size
from injectors.layer import create
from injectors.rules import parse_ini, parse_yaml
from injectors.rules.actions import ACTIONS
from injectors.rules.fields import CONDITIONS, fault_keys
from qbdcheck.files import ROOT
from reference_backend.client import Client
from reference_backend.nbd.errors import NbdError, NbdProtocolError
from reference_backend.server import Server
from reference_backend.store.memory import MemoryStore
from reference_backend.store.volume import Volume

PAGE = (ROOT / "docs/rules.md").read_text()
EXAMPLES = re.findall(r"^### (\d+)\. (.+?)\n(.*?)(?=^###|\Z)", PAGE, re.MULTILINE | re.DOTALL)
SIZE = 4 << 20
LETTERS = {0: "."} | {ord(letter): letter for letter in "abc"}


def block(text: str, kind: str) -> str:
    found = re.search(rf"```{kind}\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return found[1]


class Story:
    """One example: a server with its rules, and a client that does what the lines say."""

    def __init__(self, rules: str, directory: Path) -> None:
        self.layer = create(rules, seed=0)
        self.slept_s = 0.0
        self.layer.sleep = self._sleep
        self.volume = Volume(MemoryStore(SIZE), "vol", undo_limit=1 << 20)
        self.server = Server({"vol": self.volume}, directory / "s", layers=[self.layer])
        self.server.start()
        self.client = self._connect()
        self.held: list[int] = []

    def _connect(self) -> Client:
        return Client.connect(self.server.address, "vol", structured=False, timeout_s=20)

    def _sleep(self, _gate: threading.Event, seconds: float) -> None:
        self.slept_s += seconds

    def close(self) -> None:
        self.client.close()
        self.server.stop()

    def run(self, line: str) -> str:
        """Carry out a line, and return what a client sees."""
        verb, *arguments = line.split(maxsplit=1)
        command = getattr(self, "_" + verb.replace("-", "_"))
        self.slept_s = 0.0
        try:
            seen: str = command(arguments[0] if arguments else "")
        except NbdError as error:
            seen = errno.errorcode[error.errno or 0]
        except (NbdProtocolError, ConnectionError) as error:
            seen = "nonsense" if isinstance(error, NbdProtocolError) else "disconnected"
            self.client.sock.close()
            self.client = self._connect()
        return seen + (f" after {self.slept_s * 1000:g} ms" if self.slept_s else "")

    def _write(self, arguments: str) -> str:
        offset, length, letter, *fua = arguments.split()
        data = letter.encode() * parse_size(length)
        place = parse_size(offset)
        flags = CommandFlag.FUA if fua else 0
        cookie = self.client.send_request(
            Command.WRITE, place, len(data), flags=flags, payload=data
        )
        if self._is_held():
            self.held.append(cookie)
            return "held"
        return self._finish(cookie)

    def _is_held(self) -> bool:
        """Wait until the request is answered or held, and return whether it is held."""
        while not select.select([self.client.sock], [], [], 0.002)[0]:
            if any(rule["held"] for rule in self.layer.describe()["rules"]):
                return True
        return False

    def _finish(self, cookie: int) -> str:
        reply = self.client.receive_reply(cookie)
        if reply.error:
            raise NbdError(reply.error)
        return "ok"

    def _read(self, arguments: str) -> str:
        data = self.client.read(*map(parse_size, arguments.split()))
        sectors = [set(data[at : at + 512]) for at in range(0, len(data), 512)]
        return "".join(LETTERS[one.pop()] if len(one) == 1 else "?" for one in sectors)

    def _flush(self, _arguments: str) -> str:
        self.client.flush()
        return "ok"

    def _power_cut(self, _arguments: str) -> str:
        self.volume.power_cut(seed=3)
        return "ok"

    def _run(self, command: str, arguments: dict[str, Any]) -> str:
        self.layer.commands()[command](arguments)
        return "ok"

    def _add(self, arguments: str) -> str:
        return self._run("rule-add", yaml.safe_load(arguments))

    def _change(self, arguments: str) -> str:
        return self._run("rule-change", yaml.safe_load(arguments))

    def _remove(self, arguments: str) -> str:
        return self._run("rule-del", {"id": arguments})

    def _resume(self, arguments: str) -> str:
        assert self.layer.commands()["rule-resume"]({"id": arguments}) == {"resumed": 1}
        return self._finish(self.held.pop())

    def _count(self, arguments: str) -> str:
        (rule,) = self.layer.commands()["query-rules"]({"id": arguments})["rules"]
        return ", ".join(f"{key} {rule[key]}" for key in ("events", "matches", "fired"))


@pytest.mark.parametrize("text", [text for *_, text in EXAMPLES], ids=[n for n, *_ in EXAMPLES])
def test_the_example_gives_the_described_results(text: str, tmp_path: Path) -> None:
    story = Story(block(text, "yaml"), tmp_path)
    seen_so_far = []
    try:
        for line in block(text, "story").splitlines():
            asked, expected = re.split(r"\s{2,}", line, maxsplit=1)
            seen = story.run(asked)
            # A story may give the data of a read, or only that the read succeeds.
            seen_so_far.append((asked, "ok" if expected == "ok" and "E" not in seen else seen))
            assert seen_so_far[-1] == (asked, expected), seen_so_far
    finally:
        story.close()


def test_there_are_at_least_ten_examples() -> None:
    assert [int(number) for number, *_ in EXAMPLES] == list(range(1, len(EXAMPLES) + 1))
    assert len(EXAMPLES) >= 10


def test_the_conf_and_the_yaml_of_the_last_example_are_equal() -> None:
    text = EXAMPLES[-1][2]
    rules = parse_yaml.read(block(text, "yaml"))
    assert parse_ini.read(block(text, "ini")) == rules
    assert parse_ini.read(parse_ini.write(rules)) == rules
    assert parse_yaml.write(rules) == block(text, "yaml")


def test_the_page_has_every_key_and_action() -> None:
    listed = dict(re.findall(r"^\| `(\w+)` \| ([^|]*)\|.*\|$", PAGE, re.MULTILINE))
    assert set(CONDITIONS) - set(listed) == set()
    for action, kind in ACTIONS.items():
        assert re.findall(r"`(\w+)`", listed[action]) == list(fault_keys(kind)), action
        manual = sys.modules[kind.__module__].__doc__ or ""
        missing = [key for key in fault_keys(kind) if f"``{key}" not in manual]
        assert missing == [], f"the manual of {action}"
