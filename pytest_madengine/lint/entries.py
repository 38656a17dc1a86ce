"""Checks of the entries of one file, and of what models have in common."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from pytest_madengine.catalog.checks import is_marker
from pytest_madengine.catalog.discovery import Source
from pytest_madengine.catalog.entries import Origin, examine, similar_field
from pytest_madengine.catalog.fields import GPU_FIELDS, KNOWN_FIELDS
from pytest_madengine.catalog.problems import Problem
from pytest_madengine.lint import rules
from pytest_madengine.lint.documents import Collector, Document, Entry
from pytest_madengine.lint.findings import Place, Rule

_RULE_OF_KIND: Final[Mapping[str, Rule]] = {
    "type": rules.WRONG_TYPE,
    "missing": rules.MISSING_FIELD,
    "reserved": rules.RESERVED_CHARACTER,
    "duplicate": rules.DUPLICATE_NAME,
    "path": rules.LEAVES_ROOT,
    "gpus": rules.INVALID_GPUS,
    "variable": rules.INVALID_VARIABLE,
}
#: Older spelling -> the one of the documentation.
_ALIASES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("gpus_per_node", "gpu_count", "num_gpus", "ngpus"), "n_gpus"),
    "deprecated": "is_deprecated",
}
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAMED: Final = 5


def check_document(document: Document, source: Source, collector: Collector) -> list[Entry]:
    """The entries of a ``models.json``; what is wrong with them becomes findings."""
    origin = Origin(source.path, source.scope)
    models, problems = examine(document.value, origin)
    entries = [Entry(model, document) for model in models]
    names = {model.index: model.name for model in models}
    for problem in problems:
        _report(problem, document, names, collector)
    _unknown_fields(document, names, collector)
    return entries


def check_dynamic(values: Sequence[object], source: Source, collector: Collector) -> list[Entry]:
    """The entries that a ``get_models_json.py`` returned."""
    models, problems = examine(list(values), Origin(source.path, source.scope, dynamic=True))
    names = {model.index: model.name for model in models}
    for problem in problems:
        rule = _rule_of(problem)
        model = names.get(problem.position if problem.position is not None else -1, "")
        collector.add(rule, Place(source.path), problem.text, model=model)
    return [Entry(model) for model in models]


def _rule_of(problem: Problem) -> Rule:
    if problem.kind == "type" and problem.field == "timeout":
        return rules.INVALID_TIMEOUT
    if problem.kind == "type" and problem.field in GPU_FIELDS:
        return rules.INVALID_GPUS
    return _RULE_OF_KIND[problem.kind]


def _report(problem: Problem, document: Document, names: Mapping[int, str], collector: Collector) -> None:
    if problem.position is None:
        collector.add(_rule_of(problem), document.place(), problem.text)
        return
    path = (problem.position, problem.field) if problem.field else (problem.position,)
    collector.add(
        _rule_of(problem), document.place(*path), problem.text, model=names.get(problem.position, "")
    )


def _unknown_fields(document: Document, names: Mapping[int, str], collector: Collector) -> None:
    """One finding per field of the file, at its first entry: a convention of a repository is one mistake."""
    users: dict[str, list[int]] = defaultdict(list)
    for index, entry in enumerate(document.value if isinstance(document.value, list) else ()):
        if isinstance(entry, dict):
            for name in (name for name in entry.keys() - KNOWN_FIELDS if not name.startswith("_")):
                users[name].append(index)
    for name, indices in users.items():
        like = similar_field(name)
        more = f" (and {len(indices) - 1} more entries)" if len(indices) > 1 else ""
        collector.add(
            rules.UNKNOWN_FIELD,
            document.place(indices[0], name, key=True),
            f"unknown field {name!r} has no effect{more}",
            hint=f"did you mean {like!r}?" if like else "it is kept in the manifest; nothing else reads it",
            model=names.get(indices[0], "") if len(indices) == 1 else "",
        )


# ---- fields ---------------------------------------------------------------------------------------------


def check_fields(entry: Entry, collector: Collector) -> None:
    """What is odd about the fields of one entry alone."""
    raw, model = entry.model.raw, entry.model
    for name in model.env_vars:
        if name and "=" not in name and not _VARIABLE.fullmatch(name):
            text = f"env_vars: no shell can use {name!r} as a variable"
            collector.add(rules.ODD_VARIABLE, entry.place("env_vars", name, key=True), text, model=model.name)
    counts = {name: str(raw[name]).strip() for name in GPU_FIELDS if name in raw}
    if len(set(counts.values())) > 1:
        first = next(iter(counts))
        text = f"{', '.join(f'{name} is {value}' for name, value in counts.items())}: {first} counts"
        collector.add(rules.CONFLICTING_GPUS, entry.place(first), text, model=model.name)
    for field in ("log_error_patterns", "log_error_benign_patterns"):
        for index, pattern in enumerate(getattr(model, field) or ()):
            if not pattern:
                text = f"{field}: an empty text is in every line"
                collector.add(rules.EMPTY_PATTERN, entry.place(field, index), text, model=model.name)
    if "," in model.name or model.name != model.name.strip():
        text = "the name has a comma or outer blanks: no selector can name it"
        collector.add(rules.UNSELECTABLE_NAME, entry.place("name"), text, model=model.name)


def check_together(entries: Sequence[Entry], collector: Collector) -> None:
    """What several models have in common."""
    _aliases(entries, collector)
    _tags(entries, collector)
    _shared_results(entries, collector)


def _aliases(entries: Sequence[Entry], collector: Collector) -> None:
    users: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.document is not None and not _ALIASES.keys().isdisjoint(entry.model.raw):
            for name in _ALIASES.keys() & entry.model.raw.keys():
                users[entry.model.source, name].append(entry)
    for (_, name), found in users.items():
        collector.add(
            rules.ALIAS_FIELD,
            found[0].place(name, key=True),
            f"field {name!r}{_more(found)} is an older way to write {_ALIASES[name]!r}",
            hint=f"write {_ALIASES[name]!r}",
        )


def _more(entries: Sequence[Entry]) -> str:
    return f" (in {len(entries)} entries)" if len(entries) > 1 else ""


def _tags(entries: Sequence[Entry], collector: Collector) -> None:
    names = {entry.model.name for entry in entries}
    users: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        for tag in entry.model.tags:
            users[tag].append(entry)
    for tag, tagged in users.items():
        first, of = tagged[0], _several(entry.model.name for entry in tagged)
        place = _place_of_tag(first, tag)
        if tag == "all":
            text = f"tag 'all' of {of} hides the selector 'all'"
            collector.add(rules.HIDDEN_TAG, place, text, hint="rename the tag")
        elif tag in names and any(entry.model.name != tag for entry in tagged):
            text = f"tag {tag!r} of {of} is hidden: the selector {tag!r} means the model of that name"
            collector.add(rules.HIDDEN_TAG, place, text, hint="rename the tag or the model")
        elif "," in tag:
            text = f"tag {tag!r} of {of} cannot be selected: it has a comma"
            collector.add(rules.UNSELECTABLE_TAG, place, text, hint="make two tags of it")
        elif not is_marker(tag):
            text = f"tag {tag!r} of {of} cannot be typed after pytest -m"
            collector.add(rules.ODD_TAG, place, text, hint="use letters, digits, _, -, + and .")


def _place_of_tag(entry: Entry, tag: str) -> Place:
    given: Any = entry.model.raw.get("tags")
    if isinstance(given, list):
        index = next((number for number, text in enumerate(given) if str(text).strip() == tag), None)
        if index is not None:
            return entry.place("tags", index)
    return entry.place("tags")


def _shared_results(entries: Sequence[Entry], collector: Collector) -> None:
    users: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.model.multiple_results:
            users[entry.model.multiple_results].append(entry)
    for file, found in users.items():
        models = list(dict.fromkeys(entry.model.name for entry in found))
        if len(models) > 1:
            text = f"models {_several(models)} share the results file name {file!r}"
            hint = "each run has a directory of its own here, but not with madengine"
            collector.add(rules.SHARED_RESULTS, found[1].place("multiple_results"), text, hint=hint)


def _several(names: Iterable[str]) -> str:
    distinct = list(dict.fromkeys(names))
    shown = ", ".join(map(repr, distinct[:_NAMED]))
    return shown if len(distinct) <= _NAMED else f"{shown} and {len(distinct) - _NAMED} more"
