"""The hijacked connection of an attached container: stdin out, stdout and stderr in.

Format of the incoming side (engine API, ``attach``): frames of an 8-byte header, whose first byte is the
stream and whose last four are the big-endian length, and that many bytes.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Any, Final

_HEADER: Final = 8
#: Bytes taken from the socket at once; more than a unix socket buffers.
_RECEIVE: Final = 512 * 1024


class FrameDecoder:
    """Takes the frames apart; all streams are one for us."""

    def __init__(self) -> None:
        self._header = b""
        self._missing = 0

    def feed(self, data: bytes) -> bytes:
        """The payload in the next bytes, whatever their borders."""
        pieces: list[bytes] = []
        position, length = 0, len(data)
        missing, header = self._missing, self._header
        while position < length:
            if missing:
                piece = data[position : position + missing]
                pieces.append(piece)
                missing -= len(piece)
                position += len(piece)
            elif not header and length - position >= _HEADER:
                missing = int.from_bytes(data[position + 4 : position + _HEADER], "big")
                position += _HEADER
            else:
                wanted = _HEADER - len(header)
                header += data[position : position + wanted]
                position += wanted
                if len(header) == _HEADER:
                    missing, header = int.from_bytes(header[4:], "big"), b""
        self._missing, self._header = missing, header
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class AttachedStream:
    """One attached container.  While it is open the container's lifeline holds."""

    def __init__(self, raw: Any) -> None:
        #: The object docker-py gave out; it must live as long as the connection.
        self._raw = raw
        self._socket: socket.socket = getattr(raw, "_sock", raw)
        self._frames = FrameDecoder()
        #: The connection ended with an error, not with the container.
        self.broken = False

    def receive(self, timeout: float | None) -> bytes | None:
        """Next output; ``None`` when there was none in ``timeout`` seconds, empty at the end."""
        while True:
            try:
                self._socket.settimeout(timeout)
                data = self._socket.recv(_RECEIVE)
            except TimeoutError:
                return None
            except OSError:
                self.broken = True
                return b""
            if not data:
                return b""
            output = self._frames.feed(data)
            if output:
                return output

    def close(self) -> None:
        """Closes the connection, and with it the lifeline."""
        with contextlib.suppress(OSError):  # the other side was faster
            self._socket.shutdown(socket.SHUT_RDWR)
        # The response owns the connection; without it (other transports) the raw object does.
        (getattr(self._raw, "_response", None) or self._raw).close()
