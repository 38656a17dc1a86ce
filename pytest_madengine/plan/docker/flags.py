"""``additional_docker_run_options``: a docker run command line as typed options (contract 10.4).

The text is split like a POSIX command line.  ``$NAME`` and ``${NAME}`` are variables of the host that runs
(``plan.expansion``); nothing else in it is expanded.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pytest_madengine.errors import PlanError
from pytest_madengine.plan.docker.flag_table import FLAGS, SHORT, SYNONYMS, Collected
from pytest_madengine.plan.expansion import names_in, with_names, without_names
from pytest_madengine.plan.runplan import Device, DockerOptions, Mount
from pytest_madengine.plan.wording import did_you_mean

_WHERE: Final = "additional_docker_run_options"


@dataclass(frozen=True)
class ParsedFlags:
    """What a list of flags asks for."""

    #: Fields of :class:`DockerOptions` that were given, and only those.
    fields: Mapping[str, Any] = field(default_factory=dict)
    #: ``-e``: ``None`` takes the value of the host's variable of this name.
    env: Mapping[str, str | None] = field(default_factory=dict)
    #: ``-v`` and ``--mount``; a source starting with ``.`` is relative to the MAD root.
    mounts: tuple[Mount, ...] = ()
    #: Flags without effect, with the reason.
    notes: tuple[str, ...] = ()


def parse_run_options(text: str, expand: Callable[[str], str] = str) -> ParsedFlags:
    """Reads docker run options.

    :param expand: puts values in place of the variables that a word names; a value never becomes two words.
    :raises PlanError: naming the flag that is unknown, malformed or not possible here, and why.
    """
    try:
        words = [expand(word) for word in shlex.split(text)]
    except ValueError as error:
        raise PlanError(f"{_WHERE}: {error}") from None
    found = Collected()
    position = 0
    while position < len(words):
        position = _read_word(words, position, found)
    rest = without_names(text)
    if "$" in rest or "`" in rest:
        found.notes.append("shell syntax in it is not expanded on the host")
    notes = tuple(f"{_WHERE}: {note}" for note in found.notes)
    return ParsedFlags(found.fields, found.env, tuple(found.mounts), notes)


def parse_elsewhere(text: str) -> ParsedFlags:
    """Reads options whose variables only another host knows: a path and a number stand for them.

    :raises PlanError: as :func:`parse_run_options`, when it is wrong whatever the variables are.
    """
    try:
        return parse_run_options(text, lambda word: with_names(word, "/variable"))
    except PlanError as error:
        if not names_in(text):
            raise
        first = error
    try:
        return parse_run_options(text, lambda word: with_names(word, "1"))
    except PlanError:
        raise first from None


def _read_word(words: Sequence[str], position: int, found: Collected) -> int:
    """Reads the flags of one word and returns the position after them and their value."""
    word = words[position]
    if word.startswith("--") and len(word) > 2:
        name, separator, value = word[2:].partition("=")
        name = SYNONYMS.get(name, name)
        return _apply(words, position, found, f"--{name}", name, value if separator else None)
    if not word.startswith("-") or len(word) < 2 or word == "--":
        raise PlanError(f"{_WHERE}: {word!r} is not an option of docker run")
    rest = word[1:]
    while rest:
        letter, rest = rest[0], rest[1:]
        name = SHORT.get(letter, "")
        if name and FLAGS[name].takes_value:
            value = rest[1:] if rest.startswith("=") else rest
            return _apply(words, position, found, f"-{letter}", name, value if rest else None)
        inline = rest[1:] if rest.startswith("=") else None
        _apply(words, position, found, f"-{letter}", name, inline)
        rest = "" if inline is not None else rest
    return position + 1


def _apply(
    words: Sequence[str], position: int, found: Collected, shown: str, name: str, value: str | None
) -> int:
    flag = FLAGS.get(name)
    if flag is None:
        raise PlanError(
            f"{_WHERE}: unknown docker run option {shown!r}",
            hint=did_you_mean(shown, [f"--{known}" for known in FLAGS]),
        )
    if flag.refusal:
        raise PlanError(f"{_WHERE}: {shown} is not allowed: {flag.refusal}")
    if flag.without_effect:
        found.notes.append(f"{shown} has no effect: {flag.without_effect}")
    if value is None and flag.takes_value:
        position += 1
        value = words[position] if position < len(words) else ""
    elif value is None:
        value = "true"
    try:
        flag.handler(found, value)
    except ValueError as error:
        raise PlanError(f"{_WHERE}: {shown}: {error}") from None
    return position + 1


def merge_options(base: DockerOptions, parsed: ParsedFlags) -> DockerOptions:
    """The base options with the flags on top: the later scalar wins, lists and objects add up."""
    merged: dict[str, Any] = {}
    for name, value in parsed.fields.items():
        before = getattr(base, name)
        if name == "devices":
            merged[name] = _add_devices(before, value)
        elif isinstance(value, tuple):
            merged[name] = tuple(dict.fromkeys((*before, *value)))
        elif isinstance(value, dict):
            merged[name] = {**before, **value}
        else:
            merged[name] = value
    if "all" in merged.get("gpu_ids", ()):
        merged["gpu_ids"] = ("all",)
    return dataclasses.replace(base, **merged)


def _add_devices(before: Sequence[Device], added: Sequence[Device]) -> tuple[Device, ...]:
    devices = {device.path_in_container: device for device in (*before, *added)}
    return tuple(devices.values())


def merge_notes(base: DockerOptions, parsed: ParsedFlags) -> tuple[str, ...]:
    """What :func:`merge_options` should warn about."""
    notes = list(parsed.notes)
    if parsed.fields.get("shm_size") is not None and merge_options(base, parsed).ipc == "host":
        notes.append(
            f"{_WHERE}: --shm-size has no effect beside --ipc=host; set SHM_SIZE in the context instead"
        )
    if parsed.fields.get("gpu_ids") or any(_is_gpu(device) for device in parsed.fields.get("devices", ())):
        notes.append(f"{_WHERE}: GPUs given here are outside of the lease and may be in use by others")
    return tuple(notes)


def _is_gpu(device: Device) -> bool:
    path = device.path_on_host.rstrip("/")
    return path == "/dev/dri" or path.startswith(("/dev/dri/", "/dev/nvidia"))
