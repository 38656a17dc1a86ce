"""Reading Dockerfiles far enough to know their arguments, base images, secrets and named contexts.

It never fails: what it does not understand is left to the engine, which reports it in its own words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from pytest_madengine.images.dockerlines import Instruction, directives, instructions
from pytest_madengine.images.shellwords import WordError, expand

__all__ = [
    "Instruction",
    "base_image",
    "declared_args",
    "instructions",
    "references_build_context",
    "secret_mounts",
    "takes_another_instruction",
    "uses_secret_mounts",
]

#: Frontends that read Dockerfiles, by the last part of their names.
_FRONTENDS: Final = frozenset({"dockerfile", "dockerfile-upstream"})
#: One word with its quotes, e.g. ``A="b c"d``.
_WORD: Final = re.compile(r"(?:[^\s\"'\\]|\\.|\"(?:[^\"\\]|\\.)*\"|'[^']*')+")
_QUOTES: Final = re.compile(r"\"((?:[^\"\\]|\\.)*)\"|'([^']*)'|\\(.)|([^\"'\\]+)")


def declared_args(text: str) -> dict[str, str | None]:
    """Names of all ``ARG`` instructions with their first default, quotes removed; ``None`` without one.

    Variables inside a default stay as they are.
    """
    declared: dict[str, str | None] = {}
    for instruction in instructions(text):
        if instruction.keyword == "ARG":
            for name, default in _assignments(instruction.rest):
                if declared.get(name) is None:
                    declared[name] = default
    return declared


def _assignments(rest: str, *, raw: bool = False) -> Iterator[tuple[str, str | None]]:
    """Names and defaults; raw: quotes and escapes stay."""
    for word in _WORD.findall(rest):
        if word.startswith("#"):
            return
        name, equals, value = word.partition("=")
        yield name, (value if raw else _unquote(value)) if equals else None


def _unquote(word: str) -> str:
    parts = []
    for double, single, escaped, plain in _QUOTES.findall(word):
        parts.append(re.sub(r"\\([\"\\])", r"\1", double) + single + escaped + plain)
    return "".join(parts)


def base_image(text: str, build_args: Mapping[str, str]) -> str:
    """The base image, by the rule ``base_docker`` of contract 8.3; empty when there is none.

    Build argument ``BASE_DOCKER``, else ``ARG BASE_DOCKER=``, else ``ARG BASE_IMAGE=`` (whose default a build
    argument of that name overrides, as it does in the build), else the image of the first ``FROM``.
    """
    if build_args.get("BASE_DOCKER"):
        return build_args["BASE_DOCKER"]
    escape = directives(text).escape
    values: dict[str, str] = {}
    first_from = ""
    declared: dict[str, str] = {}
    for instruction in instructions(text):
        if instruction.keyword == "ARG":
            for name, default in _assignments(instruction.rest, raw=True):
                value = _expanded(default, values, escape)
                value = build_args.get(name, value)
                if default is not None and value:
                    declared.setdefault(name, value)
                if not first_from and value is not None:
                    values[name] = value
        elif instruction.keyword == "FROM" and not first_from and instruction.rest:
            first_from = _expanded(instruction.rest.split()[0], values, escape) or ""
    return declared.get("BASE_DOCKER") or declared.get("BASE_IMAGE") or first_from


def _expanded(word: str | None, values: Mapping[str, str], escape: str) -> str | None:
    """A word with its variables; empty when the engine would refuse it, in words of its own."""
    try:
        return None if word is None else expand(word, values, escape)
    except WordError:
        return ""


def takes_another_instruction(text: str) -> bool:
    """True when an instruction after the last line would be one of the last stage.

    Not when the file ends within an instruction, or another frontend than Docker's reads it.
    """
    top = directives(text)
    frontend = top.syntax.partition("@")[0].rpartition("/")[2].partition(":")[0]
    if top.syntax and frontend not in _FRONTENDS:
        return False
    found = list(instructions(text))
    lines = [line.strip() for line in text.splitlines()]
    written = [line for line in lines if line and not line.startswith("#")]
    return (
        any(instruction.keyword == "FROM" for instruction in found)
        and not any(instruction.unfinished for instruction in found)
        and not written[-1].endswith(top.escape)
    )


def secret_mounts(text: str) -> frozenset[str]:
    """Ids of the build secrets that ``RUN --mount=type=secret`` asks for."""
    found = set()
    for mount in _mounts(text):
        if mount.get("type") == "secret":
            target = mount.get("target") or mount.get("dst") or mount.get("destination") or ""
            found.add(mount.get("id") or target.rpartition("/")[2])
    return frozenset(found - {""})


def uses_secret_mounts(text: str) -> bool:
    """True when a ``RUN`` mounts a build secret, which needs BuildKit."""
    return any(mount.get("type") == "secret" for mount in _mounts(text))


def _mounts(text: str) -> Iterator[dict[str, str]]:
    for instruction in instructions(text):
        for name, value in instruction.flags:
            if name == "mount":
                pairs = (part.partition("=") for part in value.split(","))
                yield {key.strip().lower(): _unquote(content) for key, _, content in pairs}


def references_build_context(text: str, name: str) -> bool:
    """True when the Dockerfile takes something from the named context (``COPY --from=NAME`` and the like).

    A stage of the same name counts as the Dockerfile's own.
    """
    sources = set()
    stages = set()
    for instruction in instructions(text):
        words = instruction.rest.split()
        if instruction.keyword == "FROM" and words:
            sources.add(words[0])
            if len(words) >= 3 and words[1].lower() == "as":
                stages.add(words[2].lower())
        sources |= {value for flag, value in instruction.flags if flag == "from"}
    sources |= {mount["from"] for mount in _mounts(text) if "from" in mount}
    return name in sources and name.lower() not in stages
