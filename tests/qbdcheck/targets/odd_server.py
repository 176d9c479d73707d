"""An NBD server with the oddities of real servers: old, sparse, or broken in its handshake.

usage: odd_server.py SOCKET SIZE [ODDITY...]

Oddities: ``no-go`` (GO and INFO are unknown options), ``no-meta`` (structured replies, but
SET_META_CONTEXT is refused), ``not-fixed`` (neither fixed newstyle nor NO_ZEROES), ``oldstyle``,
``read-only``, ``one-client`` (the next client waits until the one before has left),
``short-info`` (INFO_EXPORT of the wrong length), ``bad-greeting``, ``drops:SECONDS`` (the socket
accepts and closes connections for so long), ``noise`` (a fresh volume is not zero).
"""

from __future__ import annotations

import socket
import struct
import sys
import threading
import time

GO, INFO, STRUCTURED, SET_META, EXPORT_NAME, ABORT = 7, 6, 8, 10, 1, 2
ACK, REP_INFO, UNSUP, POLICY = 1, 3, 0x80000001, 0x80000002
FLAGS = 1 | 1 << 2  # HAS_FLAGS, SEND_FLUSH


class Connection:
    """One client."""

    def __init__(self, sock: socket.socket, volume: bytearray, oddities: set[str]) -> None:
        self.sock = sock
        self.volume = volume
        self.odd = oddities
        self.structured = False

    def take(self, length: int) -> bytes:
        """Receive exactly so many bytes."""
        data = b""
        while len(data) < length:
            part = self.sock.recv(length - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def reply(self, option: int, kind: int, data: bytes = b"") -> None:
        """Send a reply to an option."""
        self.sock.sendall(struct.pack(">QIII", 0x3E889045565A9, option, kind, len(data)) + data)

    def handshake(self) -> None:
        """Run the handshake to its end."""
        if "bad-greeting" in self.odd:
            self.sock.sendall(b"SSH-2.0-OpenSSH_9.2p1\r\n" * 4)
            raise EOFError
        if "oldstyle" in self.odd:
            magics = b"NBDMAGIC" + struct.pack(">Q", 0x420281861253)
            self.sock.sendall(magics + struct.pack(">QHH124x", len(self.volume), 0, FLAGS))
            return
        self.sock.sendall(b"NBDMAGICIHAVEOPT" + struct.pack(">H", 0 if self.is_plain else 3))
        self.take(4)
        while True:
            _magic, option, length = struct.unpack(">QII", self.take(16))
            self.take(length)
            if option == EXPORT_NAME:
                padding = bytes(124 if self.is_plain else 0)
                self.sock.sendall(struct.pack(">QH", len(self.volume), FLAGS) + padding)
                return
            if option == ABORT:
                self.reply(option, ACK)
                raise EOFError
            if option in (GO, INFO) and "no-go" not in self.odd and not self.is_plain:
                size = len(self.volume)
                flags = FLAGS | 2 if "read-only" in self.odd else FLAGS
                info = struct.pack(">HQH", 0, size, flags)
                self.reply(option, REP_INFO, info[:6] if "short-info" in self.odd else info)
                self.reply(option, ACK)
                if option == GO:
                    return
            elif option == STRUCTURED and "no-meta" in self.odd:
                self.structured = True
                self.reply(option, ACK)
            else:
                self.reply(option, POLICY if option == SET_META else UNSUP)

    @property
    def is_plain(self) -> bool:
        """Whether the server knows the newstyle handshake, but not the fixed one."""
        return "not-fixed" in self.odd

    def transmission(self) -> None:
        """Serve reads, writes and flushes."""
        while True:
            head = self.take(28)
            _magic, _flags, command, cookie, offset, length = struct.unpack(">IHHQQI", head)
            data = self.take(length) if command == 1 else b""
            if command == 2:
                return
            if command == 1:
                self.volume[offset : offset + length] = data
            if command == 0 and self.structured:
                part = self.volume[offset : offset + length]
                head = struct.pack(">IHHQIQ", 0x668E33EF, 1, 1, cookie, length + 8, offset)
                self.sock.sendall(head + part)
                continue
            answer = struct.pack(">IIQ", 0x67446698, 0 if command in (0, 1, 3) else 22, cookie)
            read = self.volume[offset : offset + length] if command == 0 else b""
            self.sock.sendall(answer + read)

    def run(self) -> None:
        """Serve the client until it leaves."""
        try:
            self.handshake()
            self.transmission()
        except (EOFError, OSError):
            pass
        self.sock.close()


def main(path: str, size: int, oddities: set[str]) -> None:
    """Serve a volume in memory until a signal ends the process."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(16)
    drops = [float(odd.partition(":")[2]) for odd in oddities if odd.startswith("drops:")]
    end = time.monotonic() + (drops[0] if drops else 0)
    volume = bytearray(b"\xa5" * size if "noise" in oddities else size)
    while True:
        sock, _ = listener.accept()
        if time.monotonic() < end:
            sock.close()
            continue
        connection = Connection(sock, volume, oddities)
        if "one-client" in oddities:
            connection.run()
        else:
            threading.Thread(target=connection.run, daemon=True).start()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), set(sys.argv[3:]))
