"""How a server died: its signal, its assertion, and the request that it died of."""

from __future__ import annotations

import re
from pathlib import Path

from oracles.damage import Damage
from oracles.finding import Finding, Findings
from qbdcheck.errors import ProgramError
from qbdcheck.programs.process import Process, describe_exit, tail
from qbdcheck.programs.requests_sent import fatal_request, last_requests
from qbdcheck.programs.running import RunningProgram

_REASONS = (
    re.compile(r"assert", re.IGNORECASE),
    re.compile(r"ERROR: \w*Sanitizer|runtime error:"),
    re.compile(
        r"\bpanic(?:ked)?\b|terminate called|stack smashing|double free|free\(\)|malloc\(\)"
    ),
    re.compile(r"\b(?:SIG[A-Z]{3,}|[Ss]egmentation fault|[Bb]us error|[Aa]borted)\b"),
    re.compile(r"\b(?:fatal|FATAL|critical|CRITICAL|BUG)\b"),
    re.compile(r"^(?:\w+\.)*\w*(?:Error|Exception)\b.*"),
)
"""Lines of a server's output that say why it died, the most telling kind first."""
_SHOWN = 8
"""Last requests that a report shows."""
_LINE_MAX = 300


class ServerDiedError(ProgramError):
    """The server of the target ended without being asked. ``findings`` say how."""

    def __init__(self, target: str, server: RunningProgram) -> None:
        self.findings = Findings([death_of(server)])
        finding = self.findings[0]
        text = f"target {target}: its {finding.text}"
        text += f", at {finding.request}" if finding.request else ""
        super().__init__(text, server.argv, server.returncode, server.output())


def death_of(server: RunningProgram) -> Finding:
    """Return what is known about the end of a server that has died."""
    how = f"server {Path(server.argv[0]).name} {describe_exit(server.returncode)}"
    reason = reason_in(server.output()) or last_error(server)
    sent = last_requests()
    fatal = fatal_request(sent)
    text = f"server died: {how}" + (f" ({reason})" if reason else "")
    waiting = [one for one in sent if not one.result]
    evidence = [f"request: {one}" for one in sent[-_SHOWN:]]
    if len(waiting) > 1:
        evidence.append(f"{len(waiting)} requests had no reply")
    request = fatal.text if fatal is not None else ""
    return Finding(Damage.DIED, request=request, remark=text, evidence=tuple(evidence))


def reason_in(output: str) -> str:
    """Return the line of a server's output that says why it died; "" without one."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for pattern in _REASONS:
        telling = [line for line in lines if pattern.search(line)]
        if telling:
            return telling[0 if pattern is _REASONS[0] else -1][:_LINE_MAX]
    return ""


def last_error(server: RunningProgram) -> str:
    """Return the last line that a server wrote to its standard error; "" without one."""
    file = server.err_file if isinstance(server, Process) else None
    return tail(file.read_text(errors="replace"), 1) if file is not None and file.exists() else ""
