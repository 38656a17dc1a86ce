"""``data.json``: which data names there are and where each of them lies (contract 13.1)."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pytest_madengine.errors import ConfigError
from pytest_madengine.util import jsontext

#: Fields every provider understands (contract 13.1).
COMMON_FIELDS: Final = frozenset({"path", "home", "mirrorlocal", "readwrite", "args"})
#: Fields that may stand at the name, for all its providers.
SHARED_FIELDS: Final = frozenset({"home", "mirrorlocal", "readwrite"})
#: Key of the wrapped form, and of the default mirror in both forms.
WRAPPER: Final = "data_sources"
MIRROR: Final = "mirrorlocal"


@dataclass(frozen=True)
class Source:
    """One provider of one data name, with everything that stands at the name filled in."""

    name: str
    provider: str
    path: str = ""
    #: Directory inside the container; empty: ``/data_dlm_<k>``.
    home: str = ""
    #: Directory on the host below which the data is kept; empty: not kept.
    mirror: str = ""
    read_write: bool = False
    args: str = ""
    #: Further fields, e.g. ``region`` and ``endpoint_url``.
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DataName:
    """One data name.  ``error`` says why it cannot be used; only models that ask for it fail."""

    name: str
    #: File (or ``context``) that defines it.
    file: str
    sources: Mapping[str, Source] = field(default_factory=dict)
    error: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataConfig:
    """All data names of a session."""

    #: The file that was read or would have been.
    file: str
    #: False: there is no such file.
    found: bool
    names: Mapping[str, DataName] = field(default_factory=dict)
    #: What looked wrong apart from single names.
    warnings: tuple[str, ...] = ()

    def close_matches(self, name: str) -> list[str]:
        """Defined names that look like this one."""
        lower = {known.lower(): known for known in self.names}
        return [lower[close] for close in difflib.get_close_matches(name.lower(), list(lower), n=3)]


def load_config(
    path: Path, required: bool, context: object, providers: Mapping[str, Collection[str]]
) -> DataConfig:
    """Reads the data configuration; names of the context replace those of the file.

    :param required: the user named the file, so it must be there.
    :param context: the ``data`` object of the context, in either form; ``None`` without one.
    :param providers: names of the known providers and their own fields.
    :raises ConfigError: the file cannot be read or is no JSON object.
    """
    found = True
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if required:
            raise ConfigError(
                f"--mad-data-config: {path} is not a file", hint="give the path of a data.json"
            ) from None
        text, found = "{}", False
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ConfigError(f"data configuration {path}: {why}") from None
    file = parse_config(text, str(path), providers)
    names, warnings = dict(file.names), list(file.warnings)
    if context is not None:
        given = _Reader("context: data", providers).read(context)
        names |= given.names
        warnings += given.warnings
    return DataConfig(str(path), found, names, tuple(warnings))


def parse_config(text: str, file: str, providers: Mapping[str, Collection[str]]) -> DataConfig:
    """The data names of a JSON text in the flat or the wrapped form.

    :raises ConfigError: no JSON, or no object.
    """
    try:
        value = jsontext.parse(text)
    except jsontext.JsonTextError as error:  # it names the place, never the content
        raise ConfigError(f"data configuration {file}: not JSON: {error}", hint="correct the JSON") from None
    return _Reader(file, providers).read(value)


class _Reader:
    """Reads one configuration object; ``file`` is how messages call it."""

    def __init__(self, file: str, providers: Mapping[str, Collection[str]]) -> None:
        self._file = file
        self._providers = providers
        self._warnings: list[str] = []

    def read(self, value: object) -> DataConfig:
        if not isinstance(value, Mapping):
            raise ConfigError(
                f"data configuration {self._file}: must be an object of data names, not {_kind(value)}"
            )
        names: Mapping[str, Any] = value
        mirror = ""
        if isinstance(value.get(MIRROR), str):
            mirror = value[MIRROR]
            names = {name: entry for name, entry in value.items() if name != MIRROR}
        if isinstance(value.get(WRAPPER), Mapping):
            for key in sorted(set(names) - {WRAPPER}):
                self._warnings.append(f"{self._file}: unknown field {key!r} beside {WRAPPER!r}")
            names = value[WRAPPER]
        entries = {name: self._name(name, entry, mirror) for name, entry in names.items()}
        return DataConfig(self._file, True, entries, tuple(self._warnings))

    def _name(self, name: str, entry: object, mirror: str) -> DataName:
        where = f"{self._file}: {name}"
        if not isinstance(entry, Mapping):
            error = f"{where}: must be an object of providers, not {_kind(entry)}"
            return DataName(name, self._file, error=error)
        shared = {key: value for key, value in entry.items() if key in SHARED_FIELDS}
        shared.setdefault(MIRROR, mirror)
        sources, warnings = {}, []
        try:
            for key, value in entry.items():
                if key in SHARED_FIELDS:
                    continue
                if key not in self._providers:
                    warnings.append(f"{where}: unknown provider {key!r}{_hint(key, self._providers)}")
                    continue
                fields = {"path": value} if isinstance(value, str) else value
                if not isinstance(fields, Mapping):
                    raise ConfigError(f"{where}.{key}: must be a path or an object, not {_kind(value)}")
                sources[key] = self._source(name, key, {**shared, **fields}, warnings)
        except ConfigError as error:
            return DataName(name, self._file, error=error.message, warnings=tuple(warnings))
        return DataName(name, self._file, sources, warnings=tuple(warnings))

    def _source(self, name: str, provider: str, fields: Mapping[str, Any], warnings: list[str]) -> Source:
        where = f"{self._file}: {name}.{provider}"
        own = self._providers[provider]
        known = COMMON_FIELDS | set(own)
        for key in sorted(set(fields) - known):
            warnings.append(f"{where}: unknown field {key!r}{_hint(key, known)}")
        texts = dict(_texts(where, fields, known - {"readwrite"}))
        home = texts.pop("home", "")
        if home and (not home.startswith("/") or ":" in home or ".." in home.split("/")):
            raise ConfigError(f"{where}.home: {home!r} is not an absolute path inside the container")
        return Source(
            name,
            provider,
            path=texts.pop("path", ""),
            home=home,
            mirror=texts.pop(MIRROR, ""),
            read_write=_read_write(where, fields.get("readwrite", False), warnings),
            args=texts.pop("args", ""),
            extra=texts,
        )


def _texts(where: str, fields: Mapping[str, Any], known: Collection[str]) -> Iterator[tuple[str, str]]:
    for key in fields:
        if key not in known or fields[key] is None:
            continue
        if not isinstance(fields[key], str):
            raise ConfigError(f"{where}.{key}: must be a text, not {_kind(fields[key])}")
        if "\0" in fields[key]:
            raise ConfigError(f"{where}.{key}: must not have a NUL character")
        yield key, fields[key]


def _read_write(where: str, value: object, warnings: list[str]) -> bool:
    if isinstance(value, str) and value.strip().lower() in {"true", "false", ""}:
        return value.strip().lower() == "true"
    if isinstance(value, bool) or value is None:
        return bool(value)
    warnings.append(f"{where}.readwrite: neither true nor false, taken as false")
    return False


def _kind(value: object) -> str:
    """What JSON calls a value; never the value itself, which may be a secret put into the wrong place."""
    kinds = {bool: "a boolean", int: "a number", float: "a number", str: "a text", list: "a list"}
    return "null" if value is None else kinds.get(type(value), "an object")


def _hint(word: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(word.lower(), sorted(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(sorted(known))}"
