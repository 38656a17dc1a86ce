"""Files of a NAS, read by SFTP (contract 13.3).  paramiko is imported when first needed."""

from __future__ import annotations

import contextlib
import posixpath
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_madengine.data.config import Source
from pytest_madengine.data.logins import NAS, NasNode, nas_nodes
from pytest_madengine.data.probe import within
from pytest_madengine.data.provider import Access, Unusable
from pytest_madengine.data.remote import RemoteProvider
from pytest_madengine.data.store import PROBE_LIMIT, Checksum, RemoteFile, TransientError, safe_relative
from pytest_madengine.errors import DataError
from pytest_madengine.util.hostkeys import fingerprint, known_hosts_file, verifying_client

if TYPE_CHECKING:
    from paramiko import SFTPAttributes, SFTPClient, SFTPFile, SSHClient

#: Each has a connection of its own; servers let in only a few at once (MaxStartups, MaxSessions).
WORKERS: Final = 4
#: Seconds without an answer.
_TIMEOUT: Final = 10.0
_SILENCE: Final = 30.0
#: Bytes of one request, and how many are on their way at once.
_REQUEST: Final = 32 * 1024
_REQUESTS: Final = 64
_WINDOW: Final = 4 * 1024 * 1024


@dataclass(frozen=True)
class _Connection:
    client: SSHClient
    sftp: SFTPClient


@dataclass
class SftpStore:
    """The files below a path of one node.  Every read that goes on has a connection of its own."""

    node: NasNode
    path: str
    known_hosts: Path
    workers: int = WORKERS
    #: Connections that nobody uses at the moment.
    _idle: list[_Connection] = field(default_factory=list, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _closed: bool = False

    @property
    def label(self) -> str:
        """``sftp://host:port/path``"""
        return f"sftp://{self.node.host}:{self.node.port}{self.path}"

    def open(self) -> None:
        """Makes a connection, so that it is known to work.

        :raises Unusable: the server cannot be reached, is not who it should be, or refuses the login.
        """
        self._put_back(_connect(self.node, self.known_hosts))

    def files(self) -> list[RemoteFile]:
        """Everything below the path, or the file it names.  Links to files and directories are followed."""
        with self._translated(self.path) as sftp:
            status = sftp.stat(self.path)
            if not stat.S_ISDIR(status.st_mode or 0):
                return [_file(safe_relative(posixpath.basename(self.path)), self.path, status)]
            return list(_walk(sftp, self.path, "", ()))

    def read(self, file: RemoteFile, start: int, length: int) -> Iterator[bytes]:
        """A stretch of a file; many requests are on their way at once."""
        with self._translated(file.key) as sftp, sftp.open(file.key, "rb") as stream:
            _silence_background(stream)
            end = start + length
            # What was read ahead is lost with a connection: not too much at once.
            for window in range(start, end, _WINDOW):
                stop = min(window + _WINDOW, end)
                requests = [
                    (offset, min(_REQUEST, stop - offset)) for offset in range(window, stop, _REQUEST)
                ]
                yield from stream.readv(requests, max_concurrent_prefetch_requests=_REQUESTS)

    def checksum(self, file: RemoteFile) -> Checksum | None:
        """Always ``None``: SFTP has none.  The file must still be the one that was listed."""
        with self._translated(file.key) as sftp:
            now = _file(file.path, file.key, sftp.stat(file.key))
        if (now.size, now.version) != (file.size, file.version):
            raise DataError(f"{file.key} on {self.node.label} was changed while it was read")
        return None

    def close(self) -> None:
        """Closes the connections."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.client.close()

    def _put_back(self, connection: _Connection) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.client.close()

    @contextlib.contextmanager
    def _connected(self) -> Iterator[SFTPClient]:
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        connection = connection or _connect(self.node, self.known_hosts)
        try:
            yield connection.sftp
        except (FileNotFoundError, PermissionError):
            self._put_back(connection)
            raise
        except BaseException:
            # It is broken, or answers to requests that nobody waits for are on their way.
            connection.client.close()
            raise
        self._put_back(connection)

    @contextlib.contextmanager
    def _translated(self, what: str) -> Iterator[SFTPClient]:
        import paramiko

        where = f"{what} on {self.node.label}"
        try:
            with self._connected() as sftp:
                yield sftp
        except Unusable as error:
            raise TransientError(f"{self.node.label}: {error}") from None
        except FileNotFoundError:
            text = f"{where}: no such file or directory"
            raise DataError(text, hint="check the path in data.json") from None
        except PermissionError:
            raise DataError(f"{where}: permission denied") from None
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise TransientError(f"{where}: {_line(error)}") from None


class NasProvider(RemoteProvider):
    """A directory that one of several servers has; the first one that lets us in is used."""

    name = "nas"
    limit = 2400.0

    def verify(self, source: Source) -> None:
        """The path is absolute."""
        if not source.path.startswith("/"):
            raise Unusable(f"path {source.path!r} is not absolute")

    def connect(self, source: Source, access: Access) -> SftpStore:
        """A store on the first usable node of ``NAS_NODES``."""
        nodes = nas_nodes(access)
        if not nodes:
            raise Unusable(f"{NAS} is neither in the environment nor in the credential file")
        known_hosts = known_hosts_file(access.known_hosts, access.environ.get("HOME", ""))
        reasons = []
        for node in nodes:
            store = SftpStore(node, posixpath.normpath(source.path), known_hosts)
            try:
                within(PROBE_LIMIT, "does not let us in", store.open)
            except Unusable as error:
                store.close()
                reasons.append(f"{node.label}: {error}")
            else:
                return store
        raise Unusable("; ".join(reasons))


def _connect(node: NasNode, known_hosts: Path) -> _Connection:
    """:raises Unusable: see :func:`login`; also when the server offers no SFTP."""
    import paramiko

    client = login(node, known_hosts)
    try:
        sftp = client.open_sftp()
    except (paramiko.SSHException, EOFError, OSError) as error:
        client.close()
        raise Unusable(f"no SFTP: {_line(error)}") from None
    channel = sftp.get_channel()
    if channel is not None:
        channel.settimeout(_SILENCE)
    return _Connection(client, sftp)


def login(node: NasNode, known_hosts: Path) -> SSHClient:
    """A connection to a node whose host key was verified.

    :raises Unusable: why there is none.
    """
    import paramiko

    client = verifying_client([known_hosts], Unusable)
    own_keys = node.password is None and not node.ssh_key_file
    try:
        client.connect(
            node.host,
            node.port,
            node.username,
            node.password.reveal() if node.password is not None else None,
            key_filename=str(Path(node.ssh_key_file).expanduser()) if node.ssh_key_file else None,
            timeout=_TIMEOUT,
            banner_timeout=_TIMEOUT,
            auth_timeout=_TIMEOUT,
            channel_timeout=_TIMEOUT,
            allow_agent=own_keys,
            look_for_keys=own_keys,
        )
    except BaseException as error:
        client.close()
        if isinstance(error, paramiko.BadHostKeyException):
            raise Unusable(
                f"the host key has changed: it is {fingerprint(error.key)}, {known_hosts} has "
                f"{fingerprint(error.expected_key)}; find out why before you replace it"
            ) from None
        if isinstance(error, paramiko.AuthenticationException):
            raise Unusable(f"login of {node.username} refused; check {NAS}") from None
        if isinstance(error, (paramiko.SSHException, OSError, EOFError)):
            raise Unusable(_line(error)) from None
        raise
    transport = client.get_transport()
    if transport is not None:
        transport.set_keepalive(15)
    return client


def _walk(sftp: SFTPClient, path: str, relative: str, above: tuple[str, ...]) -> Iterator[RemoteFile]:
    # A link to a directory further up would never end.
    real = sftp.normalize(path)
    if real in above:
        return
    for entry in sorted(sftp.listdir_attr(path), key=lambda entry: entry.filename):
        if "/" in entry.filename:
            raise DataError(f"the remote name {entry.filename!r} cannot be a file name here")
        name = safe_relative(f"{relative}/{entry.filename}")
        key = posixpath.join(path, entry.filename)
        status: SFTPAttributes = entry
        if stat.S_ISLNK(entry.st_mode or 0):
            try:
                status = sftp.stat(key)
            except FileNotFoundError:
                continue  # a link that leads nowhere
        mode = status.st_mode or 0
        if stat.S_ISDIR(mode):
            yield from _walk(sftp, key, name, (*above, real))
        elif stat.S_ISREG(mode):
            yield _file(name, key, status)


def _silence_background(stream: SFTPFile) -> None:
    """Keeps paramiko's sending thread from printing a traceback when the connection breaks.

    The reading side notices the same thing and raises it, so that nothing is lost.
    """
    import paramiko

    send: Callable[..., None] | None = getattr(stream, "_prefetch_thread", None)
    if send is None:
        return

    def quiet(*args: object) -> None:
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            send(*args)

    stream._prefetch_thread = quiet  # type: ignore[attr-defined]


def _file(path: str, key: str, status: SFTPAttributes) -> RemoteFile:
    modified = int(status.st_mtime or 0)
    return RemoteFile(
        path,
        int(status.st_size or 0),
        f"mtime:{modified}",
        key,
        modified=float(modified),
        trust_time=True,
    )


def _line(error: Exception) -> str:
    if isinstance(error, socket.timeout | TimeoutError):
        return "no answer in time"
    text = getattr(error, "strerror", None) or " ".join(str(error).split()) or "the connection was lost"
    return f"{type(error).__name__}: {text}"
