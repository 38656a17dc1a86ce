"""Where the performance gate of a process gets its references and its history."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote, urlsplit

from pytest_madengine.errors import ConfigError
from pytest_madengine.gate.bookfile import read_book, read_entry
from pytest_madengine.gate.key import gate_key
from pytest_madengine.gate.past import OLDEST, Earlier
from pytest_madengine.gate.references import Book, Reference
from pytest_madengine.gate.tuning import Tuning, read_tuning
from pytest_madengine.session.gating import has_references, references_file
from pytest_madengine.util import jsontext

if TYPE_CHECKING:
    from pytest_madengine.history.baselines import Baselines
    from pytest_madengine.history.store import HistoryStore
    from pytest_madengine.session.session import MadSession


class History(Protocol):
    """Earlier values."""

    def earlier(self, facts: Mapping[str, str], model: str) -> tuple[Earlier, ...]:
        """The values of the key that these facts make; ``model``: name of the item's model."""

    def context(self, session: str, facts: Mapping[str, str]) -> Mapping[str, str]:
        """What a stored value ran on; empty where the values have it themselves."""


class StoredHistory:
    """The history of a database; the values of all models of the session are read at once.

    :raises MadError: the database is down or refuses.
    """

    def __init__(self, store: HistoryStore, models: Iterable[str]) -> None:
        self._store = store
        self._since = _now() - OLDEST
        self._read: dict[str, Baselines] = {}
        self._load(models)

    def _load(self, models: Iterable[str]) -> None:
        names = list(dict.fromkeys(models))
        try:
            found = self._store.baselines(names, self._since)
        finally:
            # Items run for hours: no connection waits for them.
            self._store.close()
        self._read.update(dict.fromkeys(names, found))

    def earlier(self, facts: Mapping[str, str], model: str) -> tuple[Earlier, ...]:
        """As :class:`History`; a model that only ``mad_run`` runs is read when it comes."""
        if model not in self._read:
            self._load([model])
        return self._read[model].earlier(_digest(facts))

    def context(self, session: str, facts: Mapping[str, str]) -> Mapping[str, str]:
        """As :class:`History`."""
        try:
            return self._store.context_of(session, _digest(facts))
        finally:
            self._store.close()


class FileHistory:
    """The history of a file of results."""

    def __init__(self, path: Path) -> None:
        from pytest_madengine.history.filevalues import FileValues

        self._values: FileValues = FileValues(path, _now())

    def earlier(self, facts: Mapping[str, str], model: str) -> tuple[Earlier, ...]:
        """As :class:`History`."""
        return self._values.earlier(facts)

    def context(self, session: str, facts: Mapping[str, str]) -> Mapping[str, str]:
        """As :class:`History`: the values have it."""
        return {}


def history_of(session: MadSession, models: Iterable[str]) -> History | None:
    """The history that options name; ``None`` without one.  :raises MadError: it cannot be read."""
    settings = session.settings
    given = settings.gate_history or settings.db
    if not given:
        return None
    if "://" not in given:
        return FileHistory(Path(given))
    from pytest_madengine.history.store import HistoryStore
    from pytest_madengine.history.urls import database_url

    target = database_url(given, settings.environ, settings.known_hosts)
    password = urlsplit(given).password
    session.redactor.add(*filter(None, (password, unquote(password or ""))))
    return StoredHistory(HistoryStore(target, retries=1), models)


def read_references(session: MadSession) -> tuple[Book, Tuning]:
    """What the references file and the entries of the selected models say.

    :raises ConfigError: a file cannot be read, or something in it cannot be used.
    """
    path = references_file(session.settings)
    data = _read(path) if path is not None else {}
    name = path.name if path is not None else ""
    book, problems = read_book(data, name)
    tuning, lines = read_tuning(data.get("gate", {}) if isinstance(data, Mapping) else {}, name)
    lines = [*map(str, problems), *lines]
    own: list[Reference] = []
    models = {one.model.name: one.model for one in session.selected if has_references(one.model)}
    for model in models.values():
        found, wrong = read_entry(model.raw, model.name, model.source)
        own += found
        lines += map(str, wrong)
    if lines:
        more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
        raise ConfigError(
            f"{lines[0]}{more}", hint="docs/how-to/ci-gate.md shows what a reference looks like"
        )
    return replace(book, references=(*book.references, *own)), tuning


def _read(path: Path) -> Any:
    if path.suffix.lower() == ".toml":
        return _read_toml(path)
    try:
        return jsontext.read(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from None
    except jsontext.JsonTextError as error:
        raise ConfigError(f"{path}: {error}") from None


def _read_toml(path: Path) -> Any:
    try:
        tomllib: Any = import_module("tomllib")
    except ImportError:
        raise ConfigError(
            f"{path}: TOML is read with Python 3.11 and later", hint="write the references as JSON"
        ) from None
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None


def _digest(facts: Mapping[str, str]) -> str:
    from pytest_madengine.history.rowkeys import digest
    from pytest_madengine.history.writing import clean

    return digest(clean(gate_key(facts)))


def _now() -> datetime:
    return datetime.now(timezone.utc).replace(tzinfo=None)
