"""Recursive merge of context layers that remembers where every leaf came from (contract 7.1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Layer:
    """Values of one source; ``origin`` as in :class:`~pytest_madengine.context.types.Context`."""

    values: Mapping[str, Any]
    origin: str


@dataclass
class _Leaf:
    value: Any
    origin: str


@dataclass
class _Object:
    origin: str
    children: dict[str, _Object | _Leaf] = field(default_factory=dict)


def copy_tree(value: Any) -> Any:
    """A copy of a JSON-like tree that shares no container with it.

    Unlike ``copy.deepcopy`` it accepts :class:`~pytest_madengine.secrets.Secret` leaves, which are immutable.
    """
    if isinstance(value, Mapping):
        return {key: copy_tree(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [copy_tree(entry) for entry in value]
    return value


def merge(layers: Iterable[Layer]) -> tuple[dict[str, Any], dict[str, str]]:
    """Merges layers, weakest first: objects key by key, everything else (lists included) is replaced.

    :returns: the values, which share nothing with the layers, and the origin of every leaf by dotted path.
        Lists and empty objects count as leaves.
    """
    top = _Object("")
    for layer in layers:
        _merge_into(top, layer.values, layer.origin)
    origins: dict[str, str] = {}
    return _values(top, "", origins), origins


def _merge_into(target: _Object, values: Mapping[str, Any], origin: str) -> None:
    for key, value in values.items():
        if not isinstance(value, Mapping):
            target.children[key] = _Leaf(copy_tree(value), origin)
            continue
        child = target.children.get(key)
        if not isinstance(child, _Object):
            child = target.children[key] = _Object(origin)
        elif not child.children:
            child.origin = origin
        _merge_into(child, value, origin)


def _values(node: _Object, path: str, origins: dict[str, str]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, child in node.children.items():
        child_path = f"{path}.{key}" if path else key
        if isinstance(child, _Leaf):
            result[key] = child.value
            origins[child_path] = child.origin
        else:
            result[key] = _values(child, child_path, origins)
            if not child.children:
                origins[child_path] = child.origin
    return result
