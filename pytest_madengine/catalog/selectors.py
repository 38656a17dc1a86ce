"""Selectors: grammar, resolution, sweeps (contract section 5).

``SEL[:PARAM[=VALUE]]...``; pure functions of texts and models.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from pytest_madengine.catalog.ids import parameters_text
from pytest_madengine.catalog.model import Model, Parameter, Selected
from pytest_madengine.errors import SelectorError, Warned
from pytest_madengine.util.text import UNSAFE

#: Selects every model.
ALL: Final = "all"
#: Items one selector may expand to; a sweep with more is a mistake and would exhaust memory.
MAX_ITEMS: Final = 100_000
_SUGGESTIONS: Final = 5
_CONTROL: Final = re.compile(f"[\t\n{UNSAFE}]")


@dataclass(frozen=True)
class Selector:
    """One selector, split but not yet resolved."""

    #: As written, without surrounding blanks.
    text: str
    #: What comes first: a name, a tag, ``all``, a directory; without the leading slash.
    head: str
    #: The stripped, non-empty pieces after it.
    pieces: tuple[str, ...] = ()
    #: Written with a leading slash: means the root file.
    root_only: bool = False

    @property
    def directory_form(self) -> str:
        """The full name that ``A:B`` means when it exists, else an empty text."""
        if self.root_only or "/" in self.head or not self.pieces or "=" in self.pieces[0]:
            return ""
        return f"{self.head}/{self.pieces[0]}"


class ModelIndex:
    """The models by everything a selector may call them; discovery order is kept throughout."""

    def __init__(self, models: Iterable[Model]) -> None:
        self.models = tuple(models)
        self.by_name = {model.name: model for model in self.models}
        self.by_tag: dict[str, list[Model]] = defaultdict(list)
        self.by_scope: dict[str, list[Model]] = defaultdict(list)
        self.by_short_name: dict[str, list[Model]] = defaultdict(list)
        for model in self.models:
            self.by_scope[model.scope].append(model)
            if model.scope:
                self.by_short_name[model.short_name].append(model)
            for tag in model.tags:
                self.by_tag[tag].append(model)

    def scoped(self, scope: str, text: str) -> list[Model]:
        """Rule 4: the models of a directory with a tag, or all of them for ``all``."""
        members = self.by_scope.get(scope, [])
        tagged = [model for model in members if text in model.tags]
        return tagged or (members if text == ALL else [])


@dataclass(frozen=True)
class Resolution:
    """The chosen items, each once, at its first position."""

    items: tuple[Selected, ...]
    warnings: tuple[Warned, ...] = ()


@dataclass
class Needs:
    """Dynamic directories a selection can need."""

    #: Directory -> text of the selector that names it.
    named: dict[str, str] = field(default_factory=dict)
    #: Directories that may have a model of a tag, a short name or ``all``.
    possible: set[str] = field(default_factory=set)


def parse_selectors(values: Sequence[str]) -> tuple[Selector, ...]:
    """Splits option values at commas and each selector at colons.

    :raises SelectorError: an empty selector, a control character, or no selector at all.
    """
    if not values:
        raise SelectorError("No selector given: nothing is selected", hint="name models or tags, or 'all'")
    return tuple(_parse(text, value) for value in values for text in value.split(","))


def _parse(text: str, value: str) -> Selector:
    text = text.strip()
    if _CONTROL.search(text):
        raise SelectorError(f"Selector {text!r} contains a control character")
    pieces = [stripped for piece in text.split(":") if (stripped := piece.strip())]
    root_only = bool(pieces) and pieces[0].startswith("/")
    head = (pieces[0][1:] if root_only else pieces[0]).strip() if pieces else ""
    if not head:
        hint = "selectors are separated by single commas: SEL[:PARAM[=VALUE]]..."
        raise SelectorError(f"Empty selector in {value!r}", hint=hint)
    return Selector(text, head, tuple(pieces[1:]), root_only)


def parse_parameters(pieces: Sequence[str], text: str = "") -> list[tuple[Parameter, ...]]:
    """The parameters of each item: one per combination of swept values, the last one varying fastest.

    :param text: the selector, for messages.
    :raises SelectorError: a parameter without a name, or more than :data:`MAX_ITEMS` combinations.
    """
    choices: list[list[Parameter]] = []
    count = 1
    for piece in pieces:
        name, equals, value = (part.strip() for part in piece.partition("="))
        if not name:
            raise SelectorError(f"Parameter {piece!r} of selector {text!r} has no name")
        if not equals and "|" in name:
            raise SelectorError(f"Flag {piece!r} of selector {text!r} has no name to sweep over: write k=1|2")
        values = [part.strip() for part in value.split("|")] if equals else [None]
        choices.append([Parameter(name, each) for each in values])
        count *= len(values)
        _check_count(count, text)
    return list(itertools.product(*choices))


def _check_count(count: int, text: str) -> None:
    if count > MAX_ITEMS:
        raise SelectorError(f"Selector {text[:80]!r} expands to {count} items, more than {MAX_ITEMS}")


def dynamic_needs(selectors: Iterable[Selector], known: ModelIndex, unread: Collection[str]) -> Needs:
    """Which dynamic directories must be executed before the selectors can be resolved.

    Ask again with a larger index after executing them, until nothing is needed: a directory form
    ``A:B`` needs only ``A`` unless ``A`` turns out to have no ``B``.

    :param known: static models, and those of the directories executed so far.
    :param unread: dynamic directories not executed so far.
    """
    needs = Needs()
    for selector in selectors:
        scope = _named_scope(selector)
        if scope in unread:
            needs.named.setdefault(scope, selector.text)
        elif "/" not in selector.head and not selector.root_only and not _by_name(selector, known):
            needs.possible |= set(unread)
    return needs


def _named_scope(selector: Selector) -> str:
    if selector.root_only:
        return ""
    return (selector.directory_form or selector.head).rpartition("/")[0].partition("/")[0]


def _by_name(selector: Selector, index: ModelIndex) -> bool:
    return selector.directory_form in index.by_name or selector.head in index.by_name


def resolve(selectors: Iterable[Selector], index: ModelIndex) -> Resolution:
    """The items in selector order, then discovery order; equal items once.

    :raises SelectorError: a selector matches nothing or is ambiguous; several such selectors are one
        error, the further ones in ``log_tail``.
    """
    items: dict[tuple[str, str], Selected] = {}
    warnings: dict[Warned, None] = {}
    errors: list[SelectorError] = []
    for selector in selectors:
        try:
            models, pieces = _match(selector, index)
            parameters = parse_parameters(pieces, selector.text)
            _check_count(len(models) * len(parameters), selector.text)
        except SelectorError as error:
            errors.append(error)
            continue
        texts = [parameters_text(each) for each in parameters]
        for model in models:
            for text, each in zip(texts, parameters, strict=True):
                items.setdefault((model.name, text), Selected(model, each))
        warnings.update(dict.fromkeys(_warnings(selector, models, index)))
    if errors:
        raise _together(errors)
    return Resolution(tuple(items.values()), tuple(warnings))


def _match(selector: Selector, index: ModelIndex) -> tuple[list[Model], tuple[str, ...]]:
    """The models of a selector by the first rule that hits, and the pieces that are parameters."""
    head, pieces = selector.head, selector.pieces
    if selector.root_only:
        named = index.by_name.get(head)
        found = [named] if named is not None and not named.scope else index.scoped("", head)
        if not found:
            raise _unmatched(selector, index)
        return found, pieces
    if selector.directory_form in index.by_name:  # rule 1
        return [index.by_name[selector.directory_form]], pieces[1:]
    if head in index.by_name:  # rule 2
        return [index.by_name[head]], pieces
    if head in index.by_tag:  # rule 3
        return index.by_tag[head], pieces
    scope, slash, rest = head.partition("/")
    if slash and scope and (scoped := index.scoped(scope, rest)):  # rule 4
        return scoped, pieces
    if head == ALL and index.models:  # rule 5
        return list(index.models), pieces
    short = index.by_short_name.get(head, [])  # rule 6
    if len(short) > 1:
        names = ", ".join(model.name for model in short)
        raise SelectorError(f"Short name '{head}' is ambiguous: {names}", hint="write the full name")
    if not short:
        raise _unmatched(selector, index)
    return short, pieces


def _unmatched(selector: Selector, index: ModelIndex) -> SelectorError:
    message = f"No models found corresponding to the given tag: {selector.text}"
    candidates = dict.fromkeys([*index.by_name, *index.by_short_name, *index.by_tag])
    close: dict[str, None] = {}
    for text in filter(None, (selector.directory_form, selector.head)):
        close.update(dict.fromkeys(difflib.get_close_matches(text, candidates, n=_SUGGESTIONS)))
    if close:
        message += f" (close matches: {', '.join(list(close)[:_SUGGESTIONS])})"
    return SelectorError(message, hint="pytest --mad-list-tags shows all tags and models")


def _warnings(selector: Selector, models: Sequence[Model], index: ModelIndex) -> list[Warned]:
    form, root = selector.directory_form, index.by_name.get(selector.head)
    if not form or root is None or models[0].name != form:
        return []
    flags = parameters_text([Parameter(selector.pieces[0])]).strip()
    message = (
        f"selector '{selector.text}' means model '{form}', not root model '{root.name}' with {flags}; "
        f"write '/{selector.text.lstrip(': ')}' for the root model"
    )
    return [Warned(message)]


def _together(errors: Sequence[SelectorError]) -> SelectorError:
    if len(errors) == 1:
        return errors[0]
    first = errors[0]
    tail = tuple(error.message for error in errors[1:])
    return SelectorError(f"{first.message} (and {len(tail)} more)", hint=first.hint, log_tail=tail)
