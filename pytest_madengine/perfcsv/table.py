"""perf.csv: append-only, one lock, constant work per record (contract 12.4)."""

from __future__ import annotations

import contextlib
import csv
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Final

from pytest_madengine.errors import ConfigError, ResultError
from pytest_madengine.results.columns import V1_COLUMNS, V2_COLUMNS
from pytest_madengine.results.header import HEADER_LIMIT, header_names
from pytest_madengine.results.record import RunRecord
from pytest_madengine.results.rows import file_rows
from pytest_madengine.util.locks import locked

#: Columns of a new file, by ``mad_perf_csv_schema``.
SCHEMAS: Final = {"v1": V1_COLUMNS, "v2": V2_COLUMNS}


class PerfCsv:
    """The result file of one or more sessions.

    :param path: the file; it and its directory are created with the first row.
    :param schema: ``v1`` or ``v2``: header of a new file.  An existing header decides for itself.
    :raises ConfigError: unknown schema.
    """

    def __init__(self, path: Path, schema: str = "v2") -> None:
        if schema not in SCHEMAS:
            raise ConfigError(f"mad_perf_csv_schema is '{schema}'", hint="use v1 or v2")
        self.path = path
        self._columns = SCHEMAS[schema]

    def check(self) -> None:
        """Finds out before anything runs whether rows can be appended; changes nothing.

        :raises ConfigError: a directory or special file, not writable, or without the needed columns.
        """
        path = self.path
        try:
            if path.exists():
                if not path.is_file():
                    kind = "a directory" if path.is_dir() else "not a regular file"
                    raise ConfigError(f"{path} is {kind}", hint="name a CSV file with --mad-output")
                _need(path, os.R_OK | os.W_OK)
                with path.open("rb") as stream:
                    _read_header(stream, path)
                return
            # Also a link that leads nowhere: its target will be created, or cannot be.
            directory = Path(os.path.realpath(path)).parent
            while not directory.exists() and not directory.is_symlink():
                directory = directory.parent
            if not directory.is_dir():
                raise ConfigError(
                    f"{path}: {directory} is not a directory", hint="choose another --mad-output"
                )
            _need(directory, os.W_OK | os.X_OK)
        except OSError as error:
            raise ConfigError(f"{path} cannot be used: {error.strerror}", hint="see --mad-output") from error

    def append(self, record: RunRecord) -> list[dict[str, str]]:
        """Appends the rows of a record and returns them as written: columns of the file, in its order.

        :raises ConfigError: the file has become one that :meth:`check` refuses.
        :raises ResultError: the rows cannot be written; the file is then as it was before.
        """
        return self.append_all([record])[0] if record.has_row else []

    def append_all(self, records: Sequence[RunRecord]) -> list[list[dict[str, str]]]:
        """As :meth:`append` for many records that have rows, in one write; the rows of each.

        :raises ConfigError: see :meth:`append`.
        :raises ResultError: see :meth:`append`; none of the rows is then in the file.
        """
        try:
            with locked_file(self.path) as stream:
                return self._append(stream, records)
        except OSError as error:
            whose = (
                f"the row of {records[0].model}" if len(records) == 1 else f"the rows of {len(records)} items"
            )
            raise ResultError(
                f"{self.path}: {whose} cannot be written: {error.strerror}",
                hint="free some space or choose another --mad-output; the record itself is kept",
            ) from error

    def _append(self, stream: IO[bytes], records: Sequence[RunRecord]) -> list[list[dict[str, str]]]:
        size = os.fstat(stream.fileno()).st_size
        header, line_end, prefix = list(self._columns), "\n", b""
        if size:
            header, line_end = _read_header(stream, self.path)
            stream.seek(-1, os.SEEK_END)
            if stream.read(1) not in (b"\n", b"\r"):
                prefix = line_end.encode()
        rows = [file_rows(record, header) for record in records]
        lines = [[row[name] for name in header] for group in rows for row in group]
        data = prefix + csv_bytes(lines if size else [header, *lines], line_end)
        _write_all(stream.fileno(), data, size)
        return rows


@contextlib.contextmanager
def locked_file(path: Path) -> Iterator[IO[bytes]]:
    """The file under its lock.  Waiting for the lock can outlast the file: then it is opened again."""
    while True:
        with locked(path, "a+b") as stream:
            ours = os.fstat(stream.fileno())
            try:
                current = path.stat()
            except FileNotFoundError:
                continue
            if (ours.st_dev, ours.st_ino) == (current.st_dev, current.st_ino):
                yield stream
                return


def _need(path: Path, mode: int) -> None:
    if not os.access(path, mode):
        raise ConfigError(f"{path} is not writable", hint="choose another --mad-output or change its mode")


def _read_header(stream: IO[bytes], path: Path) -> tuple[list[str], str]:
    """The stripped column names and the line ending of a file that is not empty; reads one line.

    :raises ConfigError: the file is no perf.csv.
    """
    stream.seek(0)
    line = stream.readline(HEADER_LIMIT)
    if not line:
        return [], "\n"
    header = header_names(line, str(path), "move the file away or choose another --mad-output")
    return header, "\r\n" if line.endswith(b"\r\n") else "\n"


def csv_bytes(lines: Sequence[Sequence[str]], line_end: str = "\n") -> bytes:
    """Lines as CSV in UTF-8; cells are written as text, quoted only where the format asks for it."""
    parts = []
    for cells in lines:
        buffer = io.StringIO(newline="")
        # The writer quotes only the characters of its own line ending: a lone "\r" needs quotes as well.
        # A NUL would make the whole file unreadable for other programs, and Python 3.10 refuses it.
        csv.writer(buffer, lineterminator="\r\n").writerow(cell.replace("\0", "") for cell in cells)
        parts.append(buffer.getvalue().removesuffix("\r\n") + line_end)
    # So would half a surrogate pair.
    return "".join(parts).encode("utf-8", "backslashreplace")


def _write_all(descriptor: int, data: bytes, size: int) -> None:
    """Writes everything, or leaves the file at its old size."""
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    except BaseException as error:
        # An interrupt of the wait for the disk is no reason to take a whole row back.
        if view or isinstance(error, OSError):
            os.ftruncate(descriptor, size)
        raise
