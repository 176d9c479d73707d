"""docs/rules.md: each of its examples is run, against a real server, and does what it says."""

import errno
import re
import select
import sys

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


def block(text, kind):
    return re.search(rf"```{kind}\n(.*?)```", text, re.DOTALL)[1]


class Story:
    """One example: a server with its rules, and a client that does what the lines say."""

    def __init__(self, rules, directory):
        self.layer = create(rules, seed=0)
        self.slept_s = 0.0
        self.layer.sleep = self._sleep
        self.volume = Volume(MemoryStore(SIZE), "vol", undo_limit=1 << 20)
        self.server = Server({"vol": self.volume}, directory / "s", layers=[self.layer])
        self.server.start()
        self.client = self._connect()
        self.held = []

    def _connect(self):
        return Client.connect(self.server.address, "vol", structured=False, timeout_s=20)

    def _sleep(self, _gate, seconds):
        self.slept_s += seconds

    def close(self):
        self.client.close()
        self.server.stop()

    def tell(self, line):
        """Do what a line says, and return what a client sees."""
        verb, *words = line.split(maxsplit=1)
        command = getattr(self, "_" + verb.replace("-", "_"))
        self.slept_s = 0.0
        try:
            seen = command(words[0] if words else "")
        except NbdError as error:
            seen = errno.errorcode[error.errno]
        except (NbdProtocolError, ConnectionError) as error:
            seen = "nonsense" if isinstance(error, NbdProtocolError) else "disconnected"
            self.client.sock.close()
            self.client = self._connect()
        return seen + (f" after {self.slept_s * 1000:g} ms" if self.slept_s else "")

    def _write(self, words):
        offset, length, letter, *fua = words.split()
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

    def _is_held(self):
        """Wait until the request is answered or held, whichever comes."""
        while not select.select([self.client.sock], [], [], 0.002)[0]:
            if any(rule["held"] for rule in self.layer.describe()["rules"]):
                return True
        return False

    def _finish(self, cookie):
        reply = self.client.receive_reply(cookie)
        if reply.error:
            raise NbdError(reply.error)
        return "ok"

    def _read(self, words):
        data = self.client.read(*map(parse_size, words.split()))
        sectors = [set(data[at : at + 512]) for at in range(0, len(data), 512)]
        return "".join(LETTERS[one.pop()] if len(one) == 1 else "?" for one in sectors)

    def _flush(self, _words):
        self.client.flush()
        return "ok"

    def _power_cut(self, _words):
        self.volume.power_cut(seed=3)
        return "ok"

    def _run(self, command, words):
        self.layer.commands()[command](words)
        return "ok"

    def _add(self, words):
        return self._run("rule-add", yaml.safe_load(words))

    def _change(self, words):
        return self._run("rule-change", yaml.safe_load(words))

    def _remove(self, words):
        return self._run("rule-del", {"id": words})

    def _resume(self, words):
        assert self.layer.commands()["rule-resume"]({"id": words}) == {"resumed": 1}
        return self._finish(self.held.pop())

    def _count(self, words):
        (rule,) = self.layer.commands()["query-rules"]({"id": words})["rules"]
        return ", ".join(f"{key} {rule[key]}" for key in ("events", "matches", "fired"))


@pytest.mark.parametrize("text", [text for *_, text in EXAMPLES], ids=[n for n, *_ in EXAMPLES])
def test_the_example_does_what_it_says(text, tmp_path):
    story = Story(block(text, "yaml"), tmp_path)
    told = []
    try:
        for line in block(text, "story").splitlines():
            asked, expected = re.split(r"\s{2,}", line, maxsplit=1)
            seen = story.tell(asked)
            # What a read returns may be told, or only that it succeeds.
            told.append((asked, "ok" if expected == "ok" and "E" not in seen else seen))
            assert told[-1] == (asked, expected), told
    finally:
        story.close()


def test_there_are_at_least_ten_examples():
    assert [int(number) for number, *_ in EXAMPLES] == list(range(1, len(EXAMPLES) + 1))
    assert len(EXAMPLES) >= 10


def test_the_conf_and_the_yaml_of_the_last_example_are_one():
    text = EXAMPLES[-1][2]
    rules = parse_yaml.read(block(text, "yaml"))
    assert parse_ini.read(block(text, "ini")) == rules
    assert parse_ini.read(parse_ini.write(rules)) == rules
    assert parse_yaml.write(rules) == block(text, "yaml")


def test_the_page_has_every_key_and_action():
    listed = dict(re.findall(r"^\| `(\w+)` \| ([^|]*)\|.*\|$", PAGE, re.MULTILINE))
    assert set(CONDITIONS) - set(listed) == set()
    for action, kind in ACTIONS.items():
        assert re.findall(r"`(\w+)`", listed[action]) == list(fault_keys(kind)), action
        manual = sys.modules[kind.__module__].__doc__
        missing = [key for key in fault_keys(kind) if f"``{key}" not in manual]
        assert missing == [], f"the manual of {action}"
