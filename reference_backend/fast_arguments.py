"""Parse simple arguments of ``serve`` without argparse.

Each test case starts one or more servers, and argparse takes 15 ms of their 35 ms start. So simple
arguments (``--name value`` and flags) are parsed by a table here, with the same result as
`parser.parser` (a test compares them). Everything else, above all wrong arguments, is left to
argparse, which explains the error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from blockio.sizes import parse_size

if TYPE_CHECKING:
    from argparse import Namespace

    Arguments = Namespace | SimpleNamespace

_VALUES: dict[str, Callable[[str], Any]] = {
    "--pool": str,
    "--memory": parse_size,
    "--image": str,
    "--socket": str,
    "--listen": str,
    "--control": str,
    "--min-block": parse_size,
    "--preferred-block": parse_size,
    "--max-block": parse_size,
    "--pid-file": str,
    "--vhost-user": str,
    "--rules": str,
}
_LISTS = frozenset({"--export-name", "--layer"})
_FLAGS = frozenset({"--read-only"})
_ONE_OF = (("--pool", "--memory", "--image"), ("--socket", "--listen"))
DEFAULTS: dict[str, Any] = {
    "command": "serve",
    "pool": None,
    "memory": None,
    "image": None,
    "socket": None,
    "listen": None,
    "allow_remote": False,
    "export_name": [],
    "control": None,
    "read_only": False,
    "tls_certs": None,
    "tls_required": False,
    "tls_verify_peer": False,
    "min_block": 1,
    "preferred_block": None,
    "max_block": 32 << 20,
    "vhost_user": None,
    "write_cache": "volatile",
    "undo_limit": None,
    "max_connections": None,
    "layer": [],
    "rules": None,
    "seed": 0,
    "pid_file": None,
    "ready_fd": None,
    "without": [],
}


def parse_fast(argv: Sequence[str]) -> SimpleNamespace | None:
    """Return the parsed arguments after ``serve``, or None if argparse must parse them."""
    found: dict[str, Any] = {}
    rest = iter(argv)
    for name in rest:
        if name in _FLAGS:
            found[name] = True
            continue
        value = next(rest, "-")
        if value.startswith("-") or not (name in _LISTS or (name in _VALUES and name not in found)):
            return None
        if name in _LISTS:
            found.setdefault(name, []).append(value)
            continue
        try:
            found[name] = _VALUES[name](value)
        except ValueError:
            return None
    if any(sum(name in found for name in names) != 1 for names in _ONE_OF):
        return None
    own = {name[2:].replace("-", "_"): value for name, value in found.items()}
    return SimpleNamespace(**{**DEFAULTS, **own})
