"""Items, their directories and their images have names of their own, whatever models are called."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pytest_madengine.catalog.ids import item_name
from pytest_madengine.util.names import safe_name

if TYPE_CHECKING:
    from pytest_madengine.session.items import ItemSpec

_SEPARATORS: Final = dict.fromkeys(code for code in range(128) if not chr(code).isalnum())
_OTHER: Final = re.compile(r"[^a-z0-9]+")


class DirectoryNames:
    """Directory of each item by its name: no two items share one."""

    def __init__(self) -> None:
        self._used: set[str] = set()
        self._counts: dict[str, int] = {}

    def __call__(self, name: str) -> str:
        directory = wanted = safe_name(name)
        while directory in self._used:
            count = self._counts[wanted] = self._counts.get(wanted, 1) + 1
            directory = f"{wanted}.{count}"
        self._used.add(directory)
        return directory


def distinct(specs: Sequence[ItemSpec]) -> list[ItemSpec]:
    """The items with names, directories and image names that no other one has.

    Model ``m`` with ``a=1`` and a model named ``m[a=1]`` have one name, so have two images of one model in a
    manifest; models ``Foo`` and ``foo`` have one image name.
    """
    names = _item_names(specs)
    suffixes = _image_suffixes(specs)
    if not names and not suffixes and all(spec.directory for spec in specs):
        return list(specs)  # nearly always
    directory_of = DirectoryNames()
    found = []
    for number, spec in enumerate(specs):
        name, suffix = names.get(number, spec.name), suffixes.get(number, "")
        found.append(replace(spec, name=name, directory=directory_of(name), image_suffix=suffix))
    return found


# ---- items --------------------------------------------------------------------------------------------


def _item_names(specs: Sequence[ItemSpec]) -> dict[int, str]:
    """New names of those items, by position, whose name others have as well."""
    used = {spec.name for spec in specs}
    if len(used) == len(specs):
        return {}
    groups = defaultdict(list)
    for number, spec in enumerate(specs):
        groups[spec.name].append(number)
    result = {}
    for name, members in groups.items():
        bare = [number for number in members if specs[number].selected.model.name == name]
        kept = bare if len(bare) == 1 else members[:0]
        for number in members if len(members) > 1 else ():
            if number not in kept:
                result[number] = next(text for text in _other_names(specs[number]) if text not in used)
                used.add(result[number])
    return result


def _other_names(spec: ItemSpec) -> Iterator[str]:
    base = ":".join(filter(None, (spec.base, spec.arch)))
    if base and spec.block is None:
        yield item_name(spec.selected, base)
    if spec.block is not None:
        yield item_name(spec.selected, spec.block.key)
    number = 1
    while True:
        yield f"{spec.name}#{number}"
        number += 1


# ---- images -------------------------------------------------------------------------------------------


def _image_suffixes(specs: Sequence[ItemSpec]) -> dict[int, str]:
    """What is appended to the names of images, by position, that others would have as well.

    Of those the one keeps its name whose model and Dockerfile are written like it.
    """
    from pytest_madengine.images.naming import image_name

    result: dict[int, str] = {}
    for members in _similar(specs):
        by_name = defaultdict(list)
        for source, numbers in members.items():
            base = specs[numbers[0]].base
            name = image_name(source[0], base)
            by_name[name].append((name == f"ci-{source[0]}_{base}", source, numbers))
        for sharing in by_name.values():
            plain = [source for exact, source, _ in sharing if exact]
            kept = plain[:1] if len(plain) == 1 else []
            for _, source, numbers in sharing if len(sharing) > 1 else ():
                if source not in kept:
                    result.update(dict.fromkeys(numbers, _digest(source)))
    return result


def _similar(specs: Sequence[ItemSpec]) -> Iterator[Mapping[tuple[str, str], list[int]]]:
    """Groups of (model, Dockerfile) whose image names may be one, with the positions of their items."""
    first: dict[str, tuple[str, str]] = {}
    keys: dict[int, str] = {}
    several = set()
    for number, spec in enumerate(specs):
        if spec.dockerfile is not None:
            source = spec.selected.model.name, spec.dockerfile.relative
            # Coarser than the rules of image names, and much cheaper.
            text = f"{source[0]}{spec.dockerfile.base}".lower()
            key = text.translate(_SEPARATORS) if text.isascii() else _OTHER.sub("", text)
            keys[number] = key
            if first.setdefault(key, source) != source:
                several.add(key)
    groups: dict[str, dict[tuple[str, str], list[int]]] = defaultdict(dict)
    for number, key in keys.items() if several else ():
        match = specs[number].dockerfile
        if key in several and match is not None:
            source = specs[number].selected.model.name, match.relative
            groups[key].setdefault(source, []).append(number)
    yield from groups.values()


def _digest(source: tuple[str, str]) -> str:
    return hashlib.sha256("\0".join(source).encode("utf-8", "surrogateescape")).hexdigest()[:8]
