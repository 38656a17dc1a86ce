"""Types of the entries of one file, checked by pydantic all at once (contract section 3).

Importing this module imports pydantic: it is itself imported only for entries that are not plainly right.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

# pydantic refuses typing.TypedDict before Python 3.12; typing_extensions comes with pydantic.
from typing_extensions import TypedDict

from pytest_madengine.catalog.fields import GPU_FIELDS
from pytest_madengine.catalog.problems import Problem, catalog_error, short
from pytest_madengine.options import LONGEST_LIMIT
from pytest_madengine.util.jsontext import boolean_of

_Scalar = str | int | float | bool
_Seconds = Annotated[int, Field(ge=-1, le=LONGEST_LIMIT)]


def _flag(value: object) -> object:
    """A text such as ``"false"`` as the boolean it says; madengine takes both."""
    parsed = boolean_of(value) if isinstance(value, str) else None
    return value if parsed is None else parsed


_Flag = Annotated[bool, BeforeValidator(_flag)]


class Entry(TypedDict, total=False):
    """One entry as JSON has it.  No key is required here: what is missing is found by ``entries``."""

    __pydantic_config__ = ConfigDict(extra="allow", strict=True)  # type: ignore[misc]

    name: str
    dockerfile: str
    scripts: str
    n_gpus: int | str
    gpus_per_node: int | str
    gpu_count: int | str
    num_gpus: int | str
    ngpus: int | str
    args: str
    tags: list[str] | str
    training_precision: str
    owner: str
    url: str
    cred: str
    data: str
    dockercontext: str
    timeout: _Seconds | None
    multiple_results: str
    skip_gpu_arch: str
    additional_docker_run_options: str
    is_deprecated: _Flag
    deprecated: _Flag
    env_vars: dict[str, _Scalar]
    distributed: dict[str, Any]
    slurm: dict[str, Any]
    log_error_pattern_scan: _Flag
    log_error_patterns: list[str]
    log_error_benign_patterns: list[str]


_ADAPTER: Final = TypeAdapter(list[Entry])
_COUNT: Final = "-1 (all GPUs), 0 (none) or a count"
_TEXTS: Final = "a list of texts"
_EXPECTED: Final[Mapping[str, str]] = {
    **dict.fromkeys(GPU_FIELDS, _COUNT),
    **dict.fromkeys(("is_deprecated", "deprecated", "log_error_pattern_scan"), "true or false"),
    **dict.fromkeys(("distributed", "slurm"), "an object"),
    **dict.fromkeys(("log_error_patterns", "log_error_benign_patterns"), _TEXTS),
    "tags": "a list of texts or one comma separated text",
    "timeout": "a whole number of seconds, -1 or more",
    "env_vars": "an object of texts, numbers or booleans",
}


def validate(entries: object, source: str) -> list[Entry]:
    """The entries of one file with checked types; given objects are not changed.

    :param entries: the JSON value of the file.
    :param source: the file relative to the MAD root, for the message.
    :raises CatalogError: naming file, entry and field of the first problem; the others follow in
        ``log_tail``.
    """
    try:
        return _ADAPTER.validate_python(entries, strict=True)
    except ValidationError as error:
        problems = _problems(error)
    raise catalog_error(source, problems, entries)


def type_problems(entries: object) -> list[Problem]:
    """Every wrong type in the entries of one file, one problem per field; none: all are right."""
    try:
        _ADAPTER.validate_python(entries, strict=True)
    except ValidationError as error:
        return _problems(error)
    return []


def _problems(error: ValidationError) -> list[Problem]:
    """One problem per field: the branches of a union are several errors for pydantic."""
    details = error.errors(include_url=False, include_context=False)
    groups = itertools.groupby(details, key=lambda detail: tuple(detail["loc"][:2]))
    found = []
    for place, group in groups:
        # The deepest error knows the value that is wrong, e.g. the one number in a list of tags.
        deepest = max(group, key=lambda detail: len(detail["loc"]))
        loc, value = deepest["loc"], deepest["input"]
        if not place:
            found.append(Problem(None, f"should be a JSON array of entries, not {_describe(value)}"))
        elif len(place) == 1:
            found.append(Problem(int(place[0]), f"should be an object, not {_describe(value)}"))
        else:
            name = str(place[1])
            found.append(Problem(int(place[0]), _field_text(name, loc[2:], value), name))
    return found


def _field_text(field: str, inner: tuple[int | str, ...], value: object) -> str:
    where = f"value of {inner[0]!r} " if field == "env_vars" and inner else ""
    expected = "a text, number or boolean" if where else _EXPECTED.get(field, "a text")
    if field == "timeout" and type(value) is int and value > LONGEST_LIMIT:
        expected = f"at most {LONGEST_LIMIT} seconds (-1: no limit)"
    # A text instead of the object of variables may hold a token.
    got = "a text" if field == "env_vars" and isinstance(value, str) else _describe(value)
    return f"field {field!r}: {where}should be {expected}, not {got}"


def _describe(value: object) -> str:
    """A wrong value for a message; content of lists and objects is never shown."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return short(value)
    if isinstance(value, str):
        return f"the text {short(value)}"
    return "a list" if isinstance(value, list | tuple) else "an object"
