"""The command line: ``reference_backend COMMAND``.

The commands: serve, proxy, vhost-user, cluster, create, list, info, resize, snapshot, rm.

Exit status: 0 for success; 2 for wrong arguments or an error that the message says how to fix.
Start-up time matters, because each test case starts a server. So modules that only some commands
need are imported inside functions.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from blockio.errors import StoreError
from reference_backend.fast_arguments import parse_fast

if TYPE_CHECKING:
    from reference_backend.fast_arguments import Arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status."""
    arguments = _parse(list(sys.argv[1:] if argv is None else argv))
    try:
        if arguments.command == "serve":
            from reference_backend.serving import serve

            return serve(arguments)
        if arguments.command == "proxy":
            from reference_backend.proxy import proxy

            return proxy(arguments)
        if arguments.command == "vhost-user":
            from reference_backend.vhost_user.bridge import serve_vhost_user

            return serve_vhost_user(arguments)
        if arguments.command == "cluster":
            from reference_backend.cluster.serving import serve_cluster

            return serve_cluster(arguments)  # type: ignore[arg-type]  # never by the fast parser
        from reference_backend.pool_commands import run

        return run(arguments)
    except (StoreError, OSError, ValueError) as error:
        print(f"reference_backend {arguments.command}: {_sentence(error)}", file=sys.stderr)  # noqa: T201
        return 2


def _parse(argv: list[str]) -> Arguments:
    if argv[:1] == ["serve"]:
        found = parse_fast(argv[1:])
        if found is not None:
            return found
    from reference_backend.parser import parser

    return parser("serve" if argv[:1] == ["serve"] else None).parse_args(argv)


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())
