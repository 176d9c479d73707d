"""The states of a volume and its server; `lifecycle.py` has the transitions."""

from __future__ import annotations

import enum


class State(enum.Enum):
    """The state of a volume and its server."""

    ABSENT = "absent"
    CREATED = "created"
    RUNNING = "running"
    CRASHED = "crashed"
