"""What the rest of the program asks the catalog: all models, the selected ones, the tags."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from pytest_madengine.catalog.discovery import Source, find_sources, read_static
from pytest_madengine.catalog.model import Catalog, Model, Selected
from pytest_madengine.catalog.selectors import ModelIndex, Needs, dynamic_needs, parse_selectors, resolve
from pytest_madengine.errors import CatalogError, SelectorError, Warned

if TYPE_CHECKING:
    from pytest_madengine.catalog.dynamic import DynamicFile
    from pytest_madengine.catalog.entries import Parsed

#: Children that list or update at the same time.
_PARALLEL: Final = 4
_R = TypeVar("_R")


@dataclass(frozen=True)
class Selection:
    """The items of one invocation, not yet multiplied by their Dockerfiles."""

    items: tuple[Selected, ...]
    warnings: tuple[Warned, ...]
    #: Every model that had to be read; dynamic directories nobody needs are not in it.
    catalog: Catalog


def select_models(
    root: Path,
    selectors: Sequence[str],
    *,
    no_dynamic: bool = False,
    environ: Mapping[str, str],
    dynamic_timeout: float = 60,
    image_given: bool = False,
) -> Selection:
    """The models the selectors choose, in selector order, then discovery order.

    All static files are read; a ``get_models_json.py`` is executed only if a selector can need it, and
    ``update_model()`` only for chosen models.

    :param selectors: option values; each may hold several selectors separated by commas.
    :param environ: environment of the child processes; secrets are removed from it.
    :param dynamic_timeout: seconds per child for listing, and again for updating.
    :param image_given: an image is given from outside, so entries need no Dockerfile.
    :raises SelectorError: malformed, unmatched or ambiguous selectors; nothing selected; a dynamic
        model with ``no_dynamic``.
    :raises CatalogError: a file of the MAD root is missing or wrong.
    """
    wanted = parse_selectors(selectors)
    with _Reader(root, environ, dynamic_timeout, image_given) as reader:
        reader.read(source for source in reader.sources if not source.dynamic)
        index = ModelIndex(reader.models())
        forbidden: set[str] = set()
        while True:
            unread = reader.unread() - forbidden
            needs = dynamic_needs(wanted, index, unread)
            if no_dynamic:
                forbidden |= _forbid(needs, reader)
            scopes = (set(needs.named) or needs.possible) - forbidden
            if not scopes:
                break
            reader.read(source for source in reader.sources if source.scope in scopes)
            index = ModelIndex(reader.models())
        try:
            resolution = resolve(wanted, index)
        except SelectorError as error:
            raise _with_hint(error, forbidden) from None
        final = reader.update(item.model for item in resolution.items)
        items, models = resolution.items, index.models
        if final:
            items = tuple(replace(item, model=final.get(item.model.name, item.model)) for item in items)
            models = tuple(final.get(model.name, model) for model in models)
        warnings = tuple(reader.warnings)
    catalog = Catalog(root, models, warnings)
    return Selection(items, (*warnings, *resolution.warnings), catalog)


def list_models(
    root: Path,
    *,
    no_dynamic: bool = False,
    environ: Mapping[str, str],
    dynamic_timeout: float = 60,
    files: Collection[str] | None = None,
    image_given: bool = False,
) -> Catalog:
    """All models in discovery order; dynamic ones as ``list_models()`` returned them, not updated.

    :param files: only these source files, e.g. ``{"models.json"}``; no other one is read or executed.
    :raises CatalogError: a file is missing or wrong, or ``files`` asks for one that must not be executed.
    """
    with _Reader(root, environ, dynamic_timeout, image_given, files) as reader:
        sources = reader.sources
        if no_dynamic:
            dynamic = [source for source in sources if source.dynamic]
            if dynamic and files is not None:
                raise CatalogError(_forbidden_text(dynamic[0]))
            reader.skip(dynamic)
            sources = tuple(source for source in sources if not source.dynamic)
        reader.read(sources)
        return Catalog(root, tuple(reader.models()), tuple(reader.warnings))


def list_tags(catalog: Catalog) -> dict[str, list[str]]:
    """Full names of the models of each tag; tags sorted, models in discovery order."""
    found: dict[str, list[str]] = defaultdict(list)
    for model in catalog.models:
        for tag in model.tags:
            found[tag].append(model.name)
    return dict(sorted(found.items()))


class _Reader:
    """Reads sources on demand and owns the child processes of the dynamic ones."""

    def __init__(
        self,
        root: Path,
        environ: Mapping[str, str],
        limit: float,
        image_given: bool,
        files: Collection[str] | None = None,
    ) -> None:
        self._root = root
        self._environ = environ
        self._limit = limit
        self._image_given = image_given
        self.sources = _sources(root, files)
        self.warnings: list[Warned] = []
        self._models: dict[str, tuple[Model, ...]] = {}
        self._children: dict[str, DynamicFile] = {}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def unread(self) -> set[str]:
        """Dynamic directories that were not executed."""
        return {s.scope for s in self.sources if s.dynamic and s.path not in self._models}

    def models(self) -> list[Model]:
        """What was read so far, in discovery order."""
        return [model for source in self.sources for model in self._models.get(source.path, ())]

    def skip(self, sources: Iterable[Source]) -> None:
        """Notes that these files are not executed."""
        for source in sources:
            text = f"{source.path}: not executed (--mad-no-dynamic), its models are left out"
            self.warnings.append(Warned(text, source.path))

    def read(self, sources: Iterable[Source]) -> None:
        """Reads files; the errors of all of them are one error."""
        chosen = [source for source in sources if source.path not in self._models]
        errors: list[CatalogError] = []
        for source in chosen:
            if not source.dynamic:
                with _collected(errors):
                    self._take(source, read_static(self._root, source, image_given=self._image_given))
        dynamic = [source for source in chosen if source.dynamic]
        for source, entries in zip(dynamic, self._each(self._list, dynamic, errors), strict=True):
            if entries is not None:
                with _collected(errors):
                    self._take(source, self._build(source, entries, provisional=True))
        _raise_all(errors)

    def update(self, models: Iterable[Model]) -> dict[str, Model]:
        """The dynamic ones among the models after ``update_model()``, with final paths, by name."""
        positions: dict[str, list[int]] = defaultdict(list)
        for model in {model.name: model for model in models if model.dynamic}.values():
            positions[model.source].append(model.index)
        changed = [source for source in self.sources if source.path in positions]
        errors: list[CatalogError] = []

        def ask(source: Source) -> list[object]:
            return self._children[source.path].update_models(positions[source.path])

        final: dict[str, Model] = {}
        for source, entries in zip(changed, self._each(ask, changed, errors), strict=True):
            if entries is not None:
                with _collected(errors):
                    parsed = self._build(source, entries, positions=positions[source.path])
                    final.update({model.name: model for model in parsed.models})
        _raise_all(errors)
        return final

    def _list(self, source: Source) -> list[object]:
        from pytest_madengine.catalog.dynamic import DynamicFile

        child = DynamicFile(self._root, source, self._environ, self._limit)
        self._children[source.path] = self._stack.enter_context(child)
        return child.list_models()

    def _build(
        self,
        source: Source,
        entries: list[object],
        *,
        provisional: bool = False,
        positions: Sequence[int] | None = None,
    ) -> Parsed:
        from pytest_madengine.catalog.entries import Origin, build_models

        origin = Origin(source.path, source.scope, True, self._image_given, provisional)
        return build_models(entries, origin, positions=positions)

    def _take(self, source: Source, parsed: Parsed) -> None:
        self._models[source.path] = parsed.models
        self.warnings += parsed.warnings
        if source.dynamic and not parsed.models:
            text = f"{source.path}: list_models() returned no model; is a submodule missing?"
            self.warnings.append(Warned(text, source.path))

    def _each(
        self, ask: Callable[[Source], _R], sources: Sequence[Source], errors: list[CatalogError]
    ) -> list[_R | None]:
        """Asks several children at once; a failing one gives ``None``, its error goes to ``errors``."""

        def guarded(source: Source) -> _R | CatalogError:
            try:
                return ask(source)
            except CatalogError as error:
                return error

        if len(sources) < 2:
            results = [guarded(source) for source in sources]
        else:
            with ThreadPoolExecutor(min(_PARALLEL, len(sources))) as pool:
                try:
                    results = list(pool.map(guarded, sources))
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    for child in self._children.values():  # the threads wait for them
                        child.kill()
                    raise
        errors += [result for result in results if isinstance(result, CatalogError)]
        return [None if isinstance(result, CatalogError) else result for result in results]


def _sources(root: Path, files: Collection[str] | None) -> tuple[Source, ...]:
    if files is None:
        return find_sources(root)
    if set(files) == {"models.json"}:  # needs no look into scripts/
        return find_sources(root, only_root=True)
    found = find_sources(root)
    unknown = sorted(set(files) - {source.path for source in found})
    if unknown:
        raise CatalogError(f"{unknown[0]}: no such models.json or get_models_json.py in {root}")
    return tuple(source for source in found if source.path in files)


def _forbid(needs: Needs, reader: _Reader) -> set[str]:
    """What ``--mad-no-dynamic`` forbids: an error when a directory is named, a warning otherwise."""
    for scope, text in needs.named.items():
        source = next(source for source in reader.sources if source.scope == scope)
        hint = "select other models, or leave out --mad-no-dynamic"
        raise SelectorError(f"Selector '{text}': {_forbidden_text(source)}", hint=hint)
    reader.skip(source for source in reader.sources if source.scope in needs.possible)
    return set(needs.possible)


def _forbidden_text(source: Source) -> str:
    return f"{source.path} must be executed to know its models, and --mad-no-dynamic forbids that"


def _with_hint(error: SelectorError, forbidden: Collection[str]) -> SelectorError:
    if not forbidden:
        return error
    hint = f"--mad-no-dynamic left out the models of scripts/{', scripts/'.join(sorted(forbidden))}"
    return SelectorError(error.message, hint=hint, log_tail=error.log_tail)


@contextlib.contextmanager
def _collected(errors: list[CatalogError]) -> Iterator[None]:
    """A :class:`CatalogError` of the block is kept for :func:`_raise_all`."""
    try:
        yield
    except CatalogError as error:
        errors.append(error)


def _raise_all(errors: Sequence[CatalogError]) -> None:
    """Raises the first error; the messages of the others follow in its log tail."""
    if not errors:
        return
    first, *others = errors
    if not others:
        raise first
    tail = (*first.log_tail, *(error.message for error in others))
    raise CatalogError(first.message, hint=first.hint, log_tail=tail)
