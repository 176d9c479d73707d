"""All kinds of fault, by the word that a rules file has for them."""

from __future__ import annotations

from injectors.delay import Delay
from injectors.disconnect import Disconnect
from injectors.error import Error
from injectors.hang import Hang
from injectors.rules.fault import Fault

ACTIONS: dict[str, type[Fault]] = {
    kind.action: kind
    for kind in (
        Error,
        Delay,
        Hang,
        Disconnect,
    )
}
