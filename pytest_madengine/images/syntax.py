"""Reading Dockerfiles far enough to know their arguments, base images, secrets and named contexts.

Follows the Dockerfile reference: parser directives, comments, line continuation, here-documents.  It never
fails: what it does not understand is left to the engine, which reports it in its own words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

_DIRECTIVE: Final = re.compile(r"^#\s*(?P<name>[A-Za-z][A-Za-z0-9]*)\s*=\s*(?P<value>.+?)\s*$")
_DIRECTIVES: Final = frozenset({"syntax", "escape", "check"})
_HEREDOC: Final = re.compile(
    r"(?<!<)\d*<<(?P<dash>-?)(?P<quote>[\"']?)(?P<word>[A-Za-z_][A-Za-z0-9_]*)(?P=quote)"
)
_FLAG: Final = re.compile(r"--(?P<name>[a-z-]+)(?:=(?P<value>\S*))?(?:\s+|$)")
_VARIABLE: Final = re.compile(
    r"\\(?P<escaped>.)|\$(?:(?P<plain>\w+)|\{(?P<name>\w+)(?::?(?P<operator>[-+?])(?P<word>[^{}]*))?\})"
)
#: One word with its quotes, e.g. ``A="b c"d``.
_WORD: Final = re.compile(r"(?:[^\s\"'\\]|\\.|\"(?:[^\"\\]|\\.)*\"|'[^']*')+")
_QUOTES: Final = re.compile(r"\"((?:[^\"\\]|\\.)*)\"|'([^']*)'|\\(.)|([^\"'\\]+)")


@dataclass(frozen=True)
class Instruction:
    """One instruction with its continuation lines joined."""

    #: Upper case, e.g. ``FROM``.
    keyword: str
    #: Text after keyword and flags.
    rest: str
    #: ``--name=value`` flags in order of appearance.
    flags: tuple[tuple[str, str], ...] = ()


def instructions(text: str) -> Iterator[Instruction]:
    """The instructions of a Dockerfile in order, without comments and bodies of here-documents."""
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    position, escape = _directives(lines)
    continued = re.compile(re.escape(escape) + r"[ \t]*$")
    logical = ""
    while position < len(lines):
        line = lines[position]
        position += 1
        stripped = line.strip()
        # Comments and, as the engine still allows, empty lines may stand between continued lines.
        if not stripped or stripped.startswith("#"):
            continue
        match = continued.search(line)
        logical += line[: match.start()] if match else line
        if match and position < len(lines):
            continue
        instruction = _instruction(logical)
        logical = ""
        if instruction.keyword in {"RUN", "COPY", "ADD"}:
            position = _after_heredocs(instruction.rest, lines, position)
        yield instruction
    if logical.strip():
        yield _instruction(logical)


def _directives(lines: list[str]) -> tuple[int, str]:
    """Number of directive lines at the top, and the escape character."""
    escape = "\\"
    for position, line in enumerate(lines):
        match = _DIRECTIVE.match(line.strip())
        if match is None or match["name"].lower() not in _DIRECTIVES:
            return position, escape
        if match["name"].lower() == "escape" and match["value"] in {"\\", "`"}:
            escape = match["value"]
    return len(lines), escape


def _instruction(line: str) -> Instruction:
    keyword, _, rest = line.strip().partition(" ")
    if "\t" in keyword:
        keyword, _, tail = keyword.partition("\t")
        rest = f"{tail} {rest}"
    rest = rest.strip()
    flags = []
    while match := _FLAG.match(rest):
        flags.append((match["name"], match["value"] or ""))
        rest = rest[match.end() :]
    return Instruction(keyword.upper(), rest, tuple(flags))


def _after_heredocs(rest: str, lines: list[str], position: int) -> int:
    """Position of the line after the bodies; unchanged when a delimiter never comes."""
    for match in _HEREDOC.finditer(rest):
        for end in range(position, len(lines)):
            body = lines[end].lstrip("\t") if match["dash"] else lines[end]
            if body == match["word"]:
                position = end + 1
                break
        else:
            return position
    return position


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


def _assignments(rest: str) -> Iterator[tuple[str, str | None]]:
    for word in _WORD.findall(rest):
        if word.startswith("#"):
            return
        name, equals, value = word.partition("=")
        yield name, _unquote(value) if equals else None


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
    values: dict[str, str] = {}
    first_from = ""
    declared: dict[str, str] = {}
    for instruction in instructions(text):
        if instruction.keyword == "ARG":
            for name, default in _assignments(instruction.rest):
                value = build_args.get(name) or _expand(default or "", values)
                if default is not None and value:
                    declared.setdefault(name, value)
                if not first_from:
                    values[name] = value
        elif instruction.keyword == "FROM" and not first_from and instruction.rest:
            first_from = _unquote(_expand(instruction.rest.split()[0], values))
    return declared.get("BASE_DOCKER") or declared.get("BASE_IMAGE") or first_from


def _expand(word: str, values: Mapping[str, str]) -> str:
    """Expands ``$NAME``, ``${NAME}``, ``${NAME:-word}`` and ``${NAME:+word}``."""

    def replacement(match: re.Match[str]) -> str:
        if match["escaped"] is not None:
            return "$" if match["escaped"] == "$" else match[0]
        value = values.get(match["plain"] or match["name"], "")
        if match["operator"] == "-":
            return value or _expand(match["word"], values)
        if match["operator"] == "+":
            return _expand(match["word"], values) if value else ""
        return value

    return _VARIABLE.sub(replacement, word)


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
