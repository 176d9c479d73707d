"""Patching the backend's code."""

from __future__ import annotations

import struct

from mutants.patching import ChangedStruct, replace


def test_a_struct_of_the_handshake_packs_changed_values() -> None:
    changed = ChangedStruct(struct.Struct(">QH"), lambda size, flags: (size + 1, flags))
    assert changed.pack(1, 2) == struct.pack(">QH", 2, 2)
    assert changed.size == 10


def test_replace_hands_over_the_real_function() -> None:
    class Owner:
        def answer(self) -> int:
            return 41

    replace(Owner, "answer", lambda real: lambda owner: real(owner) + 1)
    assert Owner().answer() == 42
