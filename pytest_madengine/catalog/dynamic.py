"""The parent side of ``get_models_json.py``: an isolated child process with a time limit (section 6)."""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from pytest_madengine.catalog import dynamic_child
from pytest_madengine.catalog.discovery import Source
from pytest_madengine.errors import CatalogError
from pytest_madengine.secrets import is_secret_name
from pytest_madengine.util import jsontext

#: Variables that hold credentials although their names do not say so (contract 13.4, 18, 20).
_CREDENTIAL_VARIABLES: Final = frozenset(
    {
        "PUBLIC_GITHUB_ROCM_KEY",
        "NAS_NODES",
        "MAD_AWS_S3",
        "MAD_MINIO",
        "MAD_DB_URL",
        "MONGO_URI",
        "AWS_ACCESS_KEY_ID",
        "DOCKER_AUTH_CONFIG",
    }
)
_URL_PASSWORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/\s:@]*:[^/\s@]+@")
#: Bytes of the child's own output that are kept for an error message.
_OUTPUT_KEPT: Final = 16 * 1024
_OUTPUT_LINES: Final = 20
_CHUNK: Final = 1 << 16
#: Seconds a child may live on after closing its end of the pipe.
_GRACE: Final = 2.0
#: Seconds the guard may take to end everything; it needs milliseconds.
_GUARD_LIMIT: Final = 15.0
#: Bytes of one answer; the child refuses to send that many.
_LONGEST_REPLY: Final = 2 * dynamic_child.MAX_TEXT
_GUARD: Final = str(Path(dynamic_child.__file__).with_name("dynamic_guard.py"))


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without anything that is or may be a secret (contract 14.2)."""
    kept = {
        name: value
        for name, value in environ.items()
        if name not in _CREDENTIAL_VARIABLES and not is_secret_name(name) and not _URL_PASSWORD.search(value)
    }
    # Also programs the file starts must not leave byte code in the MAD root.
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1"}


class DynamicFile:
    """One running ``get_models_json.py``: first :meth:`list_models`, then :meth:`update_models`.

    Use it as a context manager: leaving it kills whatever the child has started, daemons included.
    """

    def __init__(self, root: Path, source: Source, environ: Mapping[str, str], limit: float) -> None:
        """Starts the child.

        :param limit: seconds the child may take for each of listing and updating.
        """
        self.source = source
        self._limit = limit
        self._output: deque[bytes] = deque()
        self._replies = bytearray()
        self._lock = threading.Lock()
        self._lifeline_open = True
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as childs:
            try:
                request_read, self._requests = _pipe(childs, ours)
                os.set_blocking(self._requests, False)
                self._reply, reply_write = _pipe(ours, childs)
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-B", "-u", _GUARD, dynamic_child.__file__, str(reply_write)],
                    cwd=root,
                    env=child_environment(environ),
                    stdin=request_read,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    pass_fds=(reply_write,),
                    start_new_session=True,
                )
            except OSError as error:
                raise CatalogError(f"{source.path}: cannot be executed: {error.strerror}") from None
            ours.pop_all()
        self._closed = False
        self._file = str((root / source.path).absolute())

    def __enter__(self) -> DynamicFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def list_models(self) -> list[object]:
        """The fields of all models as ``list_models()`` made them.

        :raises CatalogError: any failure of the file, or the time limit.
        """
        # Packages beside the isolated interpreter's own stay importable, after them.
        path = [entry for entry in sys.path if entry.startswith(os.sep)]
        return self._ask({"file": self._file, "path": path})

    def update_models(self, positions: Sequence[int]) -> list[object]:
        """The fields of the models at these positions of the list after their ``update_model()``.

        :raises CatalogError: any failure of the file, or the time limit.
        """
        return self._ask({"update": list(positions)})

    def kill(self) -> None:
        """Ends the child; whoever waits for its answer, in another thread, gets an error."""
        with self._lock:
            if self._lifeline_open:
                self._lifeline_open = False
                os.close(self._requests)

    def close(self) -> None:
        """Kills the child and everything it has started; may be called again."""
        if self._closed:
            return
        self._closed = True
        self.kill()
        try:
            self._process.wait(_GUARD_LIMIT)
        finally:
            # Nothing if the guard is done, else all that can be done without it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            os.close(self._reply)

    def _ask(self, request: Mapping[str, Any]) -> list[object]:
        line = self._exchange(json.dumps(request).encode() + b"\n", time.monotonic() + self._limit)
        try:
            reply = jsontext.parse(line)
        except jsontext.JsonTextError as error:
            raise self._wrong_answer(str(error)) from None
        if not isinstance(reply, dict):
            raise self._wrong_answer("not an object")
        if isinstance(reply.get("error"), dict):
            raise self._error(reply["error"])
        entries = reply.get("entries")
        if not isinstance(entries, list):
            raise self._wrong_answer("without models")
        return entries

    def _exchange(self, request: bytes, deadline: float) -> bytes:
        """Sends a request and waits for one line, meanwhile draining the output of the child.

        A child that is stopped takes no more of a request than a pipe holds; nothing here waits for it alone.
        """
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._reply, selectors.EVENT_READ)
            selector.register(self._process.stdout, selectors.EVENT_READ)
            with self._lock:
                if self._lifeline_open:
                    selector.register(self._requests, selectors.EVENT_WRITE)
            rest = memoryview(request)
            while True:
                left = deadline - time.monotonic()
                if left <= 0:
                    self.close()
                    raise self._too_late()
                for key, events in selector.select(left):
                    if events & selectors.EVENT_WRITE:
                        rest = self._send(rest)
                        if not rest:
                            selector.unregister(key.fileobj)
                    elif key.fd == self._reply:
                        line = self._take_reply()
                        if line is not None:
                            return line
                    elif chunk := os.read(key.fd, _CHUNK):
                        self._keep(chunk)
                    else:
                        selector.unregister(key.fileobj)

    def _send(self, rest: memoryview) -> memoryview:
        """What is left of a request; nothing when the child is gone, which its reply then tells."""
        with self._lock:
            if not self._lifeline_open:
                return rest[:0]
            try:
                return rest[os.write(self._requests, rest[:_CHUNK]) :]
            except BlockingIOError:
                return rest
            except BrokenPipeError:
                return rest[:0]

    def _take_reply(self) -> bytes | None:
        """The line that the next bytes of the child complete."""
        chunk = os.read(self._reply, _CHUNK)
        if not chunk:
            raise self._died()
        self._replies += chunk
        if b"\n" in chunk:
            line, _, self._replies = self._replies.partition(b"\n")
            return bytes(line)
        if len(self._replies) > _LONGEST_REPLY:
            raise self._wrong_answer(f"more than {_LONGEST_REPLY:,} bytes")
        return None

    def _keep(self, chunk: bytes) -> None:
        self._output.append(chunk)
        while len(self._output) > 1 and sum(map(len, self._output)) > _OUTPUT_KEPT + _CHUNK:
            self._output.popleft()

    def _tail(self) -> tuple[str, ...]:
        """The last lines the child printed."""
        text = b"".join(self._output)[-_OUTPUT_KEPT:].decode("utf-8", "replace")
        return tuple(text.splitlines()[-_OUTPUT_LINES:])

    def _drain(self) -> None:
        """Reads what an ended child printed last."""
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        os.set_blocking(descriptor, False)
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(descriptor, _CHUNK):
                self._keep(chunk)

    def _error(self, error: Mapping[str, Any]) -> CatalogError:
        self._drain()
        line, traceback = error.get("line"), error.get("traceback")
        place = f"{self.source.path}:{line}" if isinstance(line, int) else self.source.path
        lines = traceback if isinstance(traceback, list) else []
        return CatalogError(f"{place}: {error.get('text')}", log_tail=(*self._tail(), *map(str, lines)))

    def _wrong_answer(self, why: str) -> CatalogError:
        """The file itself wrote to the pipe of its models: nothing that follows could be believed."""
        self.close()
        text = f"{self.source.path}: something else than its models is on the pipe of its answer ({why})"
        hint = "leave file descriptors alone that the file did not open itself"
        return CatalogError(text, hint=hint, log_tail=self._tail())

    def _too_late(self) -> CatalogError:
        directory = self.source.path.rpartition("/")[0]
        message = f"get_models_json.py in {directory} did not finish within {self._limit:g} s"
        return CatalogError(message, log_tail=self._tail())

    def _died(self) -> CatalogError:
        try:
            status = self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:  # it closed the pipe and lives on
            self.kill()
            status = self._process.wait()  # the guard ends within its own limit
        self._drain()
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        return CatalogError(f"{self.source.path}: ended with {how} without an answer", log_tail=self._tail())


def _pipe(reader: contextlib.ExitStack, writer: contextlib.ExitStack) -> tuple[int, int]:
    """Both ends of a pipe; each stack closes its end."""
    read, write = os.pipe()
    reader.callback(os.close, read)
    writer.callback(os.close, write)
    return read, write
