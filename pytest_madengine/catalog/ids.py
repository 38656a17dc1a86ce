"""Item ids, and what selector parameters become (contract section 5)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from pytest_madengine.catalog.model import Parameter, Selected
from pytest_madengine.util.text import file_name

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def item_name(selected: Selected, base: str | None = None) -> str:
    """The id of an item: ``<model>``, ``<model>[p=v:q=w]``, ``<model>[<base>]``, ``<model>[<base>:p=v]``.

    :param base: Dockerfile file name without ``.Dockerfile``, when several Dockerfiles match the model.
    """
    name = selected.model.name
    if not base and not selected.parameters:
        return name
    inner = ":".join(filter(None, (base, selected.params_id)))
    return f"{name}[{inner}]" if inner else name


def parse_item_name(text: str, names: Collection[str] = ()) -> tuple[str, str]:
    """Splits an id into full name and the text in the brackets (empty without brackets).

    :param names: full names that are known; needed only to tell a bracket of a name from ours.
    """
    if text in names or not text.endswith("]"):
        return text, ""
    opening = text.find("[")
    while opening > 0:
        if not names or text[:opening] in names:
            return text[:opening], text[opening + 1 : -1]
        opening = text.find("[", opening + 1)
    return text, ""


def selector_of(text: str, *, names: Collection[str] = (), bases: Collection[str] = ()) -> str:
    """The selector that selects the item with this id.

    :param bases: Dockerfile bases that are known for the model: such a first piece is no parameter.
    """
    name, inner = parse_item_name(text, names)
    pieces = inner.split(":") if inner else []
    if pieces and pieces[0] in bases:
        del pieces[0]
    # The leading slash keeps root model ``A`` with flag ``B`` apart from model ``A/B``.
    return ":".join([name if "/" in name else f"/{name}", *pieces])


def parameters_text(parameters: Sequence[Parameter]) -> str:
    """What parameters append to the script arguments: `` --k v``, `` --k``, `` --k ''``."""
    return "".join(map(_argument, parameters))


def arguments_text(selected: Selected) -> str:
    """What the parameters of this item append to ``args`` of the entry."""
    return parameters_text(selected.parameters)


def full_args(selected: Selected) -> str:
    """``args`` of the entry followed by the parameters; the text of the ``args`` column."""
    return selected.model.args + arguments_text(selected)


def environment_parameters(selected: Selected) -> dict[str, str]:
    """Parameters whose names are names of variables, for the container; a bare flag is ``1``."""
    return {
        parameter.name: "1" if parameter.value is None else parameter.value
        for parameter in selected.parameters
        if _VARIABLE.fullmatch(parameter.name)
    }


def selected_entry(selected: Selected) -> dict[str, Any]:
    """The entry as ``discover`` and the manifest show it: parameters already inside ``args``."""
    if not selected.parameters:
        return dict(selected.model.raw)
    return {**selected.model.raw, "args": full_args(selected)}


def bases_of(names: Iterable[str]) -> dict[str, str]:
    """Names of Dockerfiles without ``.Dockerfile``; the whole name where another file has the short one."""
    known = set(names)
    short = {name: name.removesuffix(".Dockerfile") for name in known}
    # A base is a part of the item's id: readable for everybody.
    return {name: file_name(name if base != name and base in known else base) for name, base in short.items()}


def _argument(parameter: Parameter) -> str:
    if parameter.value is None:
        return f" --{parameter.name}"
    return f" --{parameter.name} {parameter.value or chr(39) * 2}"
