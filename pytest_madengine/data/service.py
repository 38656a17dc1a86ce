"""Provides the data of models: names to providers to mounts (contract section 13)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from pytest_madengine.catalog.model import Model
from pytest_madengine.context.types import Context
from pytest_madengine.data.config import DataConfig, DataName, Source, load_config
from pytest_madengine.data.inplace import CustomProvider, LocalProvider
from pytest_madengine.data.logins import check_variables
from pytest_madengine.data.nas import NasProvider
from pytest_madengine.data.private import PrivateDownloads
from pytest_madengine.data.progress import Progress, human_size, no_progress
from pytest_madengine.data.provider import Access, Delivery, Provider, Timing, Unusable
from pytest_madengine.data.s3 import AwsProvider, MinioProvider
from pytest_madengine.errors import DataError
from pytest_madengine.plan.runplan import DataMount
from pytest_madengine.secrets import Redactor
from pytest_madengine.settings import Settings

#: Configuration below the MAD root unless ``--mad-data-config`` names another.
DEFAULT_FILE: Final = "data.json"


def builtin_providers() -> tuple[Provider, ...]:
    """The providers of contract 13.3 in the order in which they are tried (contract 13.2)."""
    return (CustomProvider(), LocalProvider(), MinioProvider(), NasProvider(), AwsProvider())


def provider_order(added: Iterable[Provider]) -> dict[str, Provider]:
    """All providers by name in the order in which they are tried.

    One of the user with the name of a built-in one takes its place; others come last.
    """
    return {provider.name: provider for provider in (*builtin_providers(), *added)}


class DataService:
    """Data of one process.

    :param providers: further providers, e.g. of a hook; see :func:`provider_order`.
    :param progress: told how far transfers are.
    """

    def __init__(
        self,
        settings: Settings,
        context: Context,
        redactor: Redactor,
        *,
        providers: Sequence[Provider] = (),
        progress: Progress = no_progress,
        timing: Timing | None = None,
    ) -> None:
        self._settings = settings
        self._context = context
        self._redactor = redactor
        self._providers = provider_order(providers)
        self._timing = timing or Timing()
        self._private = PrivateDownloads(settings.results_dir / ".data")
        self._notes: dict[tuple[str, str], list[str]] = {}
        self.progress = progress

    @cached_property
    def config(self) -> DataConfig:
        """The data configuration, read once.

        :raises ConfigError: it cannot be read.
        """
        given = self._settings.data_config
        fields = {name: provider.fields for name, provider in self._providers.items()}
        path = given or self._settings.root / DEFAULT_FILE
        return load_config(path, given is not None, self._context.get("data"), fields)

    def check(self) -> tuple[str, ...]:
        """Reads everything a wrong setting can be found in, for a session that will need data.

        :returns: what looks wrong apart from single data names.
        :raises ConfigError: the configuration or a variable with logins cannot be read (exit status 4).
        """
        check_variables(self._settings.environ, self._redactor)
        return self.config.warnings

    # ---- per model ----------------------------------------------------------------------------------

    def plan(self, model: Model) -> tuple[DataMount, ...]:
        """What :meth:`provide` would give, without network and without a change on the host.

        Providers that are only known to work when asked are taken to work.

        :raises DataError: a data name is not defined.
        """
        return self._resolve(model, self._access({}), lambda provider: provider.plan)

    def provide(
        self, model: Model, artifacts_dir: Path, credentials: Mapping[str, Any]
    ) -> tuple[DataMount, ...]:
        """Makes the data of a model available on this host.

        :param artifacts_dir: directory of the item; a provider's files never go there.
        :param credentials: ``credential.json``; text leaves are ``Secret``.
        :raises DataError: a name is not defined, or its last transfer failed.
        :raises ConfigError: the configuration or a variable with logins cannot be read.
        """
        return self._resolve(model, self._access(credentials), lambda provider: provider.deliver)

    def notes(self, model: Model) -> list[str]:
        """Warnings of the last :meth:`plan` or :meth:`provide` of a model: why data is missing, and so on."""
        return list(self._notes.get((model.name, model.data), ()))

    def release(self, mounts: Iterable[DataMount]) -> None:
        """Removes the data of these mounts that is not kept; mirrors stay."""
        for mount in mounts:
            if mount.source:
                self._private.remove(Path(mount.source))

    def close(self) -> None:
        """Removes all data that is not kept."""
        self._private.close()

    # ---- resolution ---------------------------------------------------------------------------------

    def _access(self, credentials: Mapping[str, Any]) -> Access:
        return Access(
            root=self._settings.root,
            environ=self._settings.environ,
            credentials=credentials,
            known_hosts=self._settings.known_hosts,
            force_mirror=self._settings.force_mirror_local,
            private=self._private.new,
            limit=self._settings.timeout_prepare,
            redactor=self._redactor,
            timing=self._timing,
            progress=self.progress,
        )

    def _resolve(
        self, model: Model, access: Access, method: Callable[[Provider], _Method]
    ) -> tuple[DataMount, ...]:
        notes = self._notes[(model.name, model.data)] = []
        mounts: list[DataMount] = []
        try:
            for position, name in enumerate(data_names(model.data)):
                entry = self._entry(name, notes)
                if entry is None:
                    continue
                attempt = _Attempt(entry, self._redactor)
                found = attempt.first(self._candidates(entry), access, method)
                notes += attempt.notes(found is not None)
                if found is not None:
                    mounts.append(_mount(*found, home=f"/data_dlm_{position}"))
        except BaseException:
            self.release(mounts)
            raise
        return tuple(mounts)

    def _entry(self, name: str, notes: list[str]) -> DataName | None:
        """The definition of a name; ``None`` without any configuration file."""
        config = self.config
        entry = config.names.get(name)
        if entry is None:
            close = config.close_matches(name)
            hint = f"did you mean {', '.join(map(repr, close))}?" if close else ""
            if not config.found:
                text = f"data {name!r}: there is no {config.file}; the model runs without it"
                notes.append(f"{text}; {hint}" if hint else text)
                return None
            text = f"data name {name!r} is not defined in {config.file}"
            raise DataError(f"{text}; {hint}" if hint else text, hint=f"define it in {config.file}")
        notes += entry.warnings
        if entry.error:
            raise DataError(entry.error, hint="correct the entry")
        return entry

    def _candidates(self, entry: DataName) -> Iterator[tuple[Provider, Source]]:
        for name, provider in self._providers.items():
            if name in entry.sources:
                yield provider, entry.sources[name]


#: ``Provider.plan`` or ``Provider.deliver``.
_Method = Callable[[Source, Access], Delivery]


@dataclass
class _Attempt:
    """The search for the first provider that delivers a name, and what the others said."""

    entry: DataName
    redactor: Redactor
    reasons: list[str] = field(default_factory=list)
    failures: list[DataError] = field(default_factory=list)

    def first(
        self,
        candidates: Iterator[tuple[Provider, Source]],
        access: Access,
        method: Callable[[Provider], _Method],
    ) -> tuple[Source, Delivery] | None:
        """The first delivery; ``None`` when no provider is usable.

        :raises DataError: at least one transfer failed and no provider delivered.
        """
        for provider, source in candidates:
            try:
                return source, method(provider)(source, access)
            except Unusable as reason:
                self._add(provider, f"not usable: {reason}")
            except DataError as error:
                self._add(provider, error.message)
                self.failures.append(error)
        if self.failures:
            text = f"data {self.entry.name!r} cannot be provided: {'; '.join(self.reasons)}"
            hint = next((error.hint for error in self.failures if error.hint), "")
            raise DataError(text, hint=self.redactor.text(hint))
        return None

    def notes(self, found: bool) -> list[str]:
        """Warnings about the search."""
        name, reasons = self.entry.name, "; ".join(self.reasons)
        if found:
            return [f"data {name!r}: {reason}" for reason in self.reasons]
        return [f"data {name!r}: the model runs without it; {reasons}"] if reasons else []

    def _add(self, provider: Provider, text: str) -> None:
        line = " ".join(self.redactor.text(text).split())
        self.reasons.append(f"{provider.name}: {line}")


def data_names(text: str) -> list[str]:
    """The names of a model's ``data`` field: separated by commas, blanks around them stripped."""
    return [name for name in (part.strip() for part in text.split(",")) if name]


def _mount(source: Source, delivery: Delivery, home: str) -> DataMount:
    return DataMount(
        name=source.name,
        provider=source.provider,
        home=source.home or home,
        source=delivery.source,
        read_only=delivery.read_only,
        script=delivery.script,
        args=delivery.args,
        size="" if delivery.size is None else human_size(delivery.size),
        duration=delivery.duration,
    )
