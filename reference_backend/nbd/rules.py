"""The rules for requests: flags and lengths of each command, checked before the payload.

NBD document, "Request types", "Command flags", "Error values", "Block size constraints".
"""

from __future__ import annotations

import errno

from blockio.layers import Command, CommandFlag
from reference_backend.nbd.agreement import Agreement, ReplyMode
from reference_backend.nbd.constants import TransmissionFlag
from reference_backend.nbd.options import advertised_sizes
from reference_backend.nbd.settings import Device, Features, Limits

_WRITING = frozenset({Command.WRITE, Command.TRIM, Command.WRITE_ZEROES})
_FULL = frozenset({Command.WRITE, Command.WRITE_ZEROES})
"""Commands that fail with ENOSPC, not EINVAL, beyond the end."""
STATUS_PAYLOAD_HEAD = 8
"""Bytes before the context ids in the payload of BLOCK_STATUS: the effect length."""

Verdict = tuple[int, str] | None
"""Errno and reason of a refusal, or None."""


class Rules:
    """The rules of one connection.

    ``allowed`` maps each offered command to its allowed flags. ``align_mask`` is the minimum block
    size minus one. ``longest`` is the maximum length of READ and WRITE.
    """

    def __init__(self, agreement: Agreement, features: Features, limits: Limits) -> None:
        if agreement.device is None:
            msg = "the handshake has not chosen an export"
            raise ValueError(msg)
        self._device: Device = agreement.device
        self._limits = limits
        self._contexts = len(agreement.contexts)
        self._extended = agreement.mode is ReplyMode.EXTENDED
        self.read_only = bool(agreement.flags & TransmissionFlag.READ_ONLY)
        minimum, _preferred, self.longest = advertised_sizes(self._device, limits)
        self.align_mask = minimum - 1
        self.allowed = allowed_flags(features, agreement)

    def payload_length(self, command: int, flags: int, length: int) -> int:
        """Return the number of bytes after the header ("Request message").

        WRITE has a payload even if an extended header lacks PAYLOAD_LEN, like in QEMU's server.
        """
        if command == Command.WRITE or (self._extended and flags & CommandFlag.PAYLOAD_LEN):
            return length
        return 0

    def judge_payload(self, command: int, flags: int, offset: int, length: int) -> Verdict:
        """Judge a request with a payload by its header."""
        verdict = self._judge_flags(command, flags)
        if verdict is None and length > self._limits.payload:
            verdict = errno.EINVAL, f"a payload of {length} bytes"
        if verdict is not None:
            return verdict
        if command == Command.BLOCK_STATUS:
            ids, odd = divmod(length - STATUS_PAYLOAD_HEAD, 4)
            return (errno.EINVAL, "a wrong payload") if odd or not 1 <= ids <= 64 else None
        return self.judge(command, flags, offset, length)

    def judge(self, command: int, flags: int, offset: int, length: int) -> Verdict:
        """Judge a request by its header, or BLOCK_STATUS by the effect length of its payload."""
        verdict = self._judge_flags(command, flags)
        if verdict is not None:
            return verdict
        if command in (Command.READ, Command.WRITE) and length > self.longest:
            return errno.EINVAL, f"{length} bytes are over the maximum of {self.longest}"
        return self._judge_range(command, offset, length)

    def _judge_flags(self, command: int, flags: int) -> Verdict:
        allowed = self.allowed.get(command)
        if allowed is None:
            return errno.EINVAL, f"command {command} was not offered"
        if flags & ~allowed:
            return errno.EINVAL, f"flags {flags & ~allowed:#x} are not allowed here"
        if command in _WRITING and self.read_only:
            return errno.EPERM, "the export is read-only"
        return None

    def _judge_range(self, command: int, offset: int, length: int) -> Verdict:
        if command == Command.FLUSH:
            return (errno.EINVAL, "flush of a range") if offset or length else None
        if offset + length > self._device.size:
            number = errno.ENOSPC if command in _FULL else errno.EINVAL
            return number, f"beyond the end at {self._device.size}"
        if (offset | length) & self.align_mask:
            return errno.EINVAL, f"not aligned to {self.align_mask + 1} bytes"
        if command == Command.BLOCK_STATUS and not length:
            return errno.EINVAL, "block status of nothing"
        return None


def allowed_flags(features: Features, agreement: Agreement) -> dict[int, int]:
    """Return the table of flags per command. FUA is valid for all commands where it is offered."""
    fua = CommandFlag.FUA if features.fua else 0
    df = CommandFlag.DF if features.df and agreement.mode is not ReplyMode.SIMPLE else 0
    fast = CommandFlag.FAST_ZERO if features.fast_zero else 0
    payload = CommandFlag.PAYLOAD_LEN if agreement.mode is ReplyMode.EXTENDED else 0
    table = {
        Command.READ: (True, df),
        Command.WRITE: (True, payload),
        Command.FLUSH: (features.flush, 0),
        Command.TRIM: (features.trim, 0),
        Command.CACHE: (features.cache, 0),
        Command.WRITE_ZEROES: (features.write_zeroes, CommandFlag.NO_HOLE | fast),
        Command.BLOCK_STATUS: (bool(agreement.contexts), CommandFlag.REQ_ONE | payload),
    }
    return {int(command): int(flags | fua) for command, (on, flags) in table.items() if on}
