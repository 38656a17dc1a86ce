"""The options of ``run``, ``build`` and their relatives, as a table (contract 19.2).

Every pytest option ``--mad-<name>`` is an option ``--<name>`` here, with the further spellings that users of
madengine know.  What only the command lines have stands below it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pytest_madengine.errors import ConfigError
from pytest_madengine.options import BY_NAME, DEFAULT_MANIFEST, OPTIONS
from pytest_madengine.options.option import GPUS, IMAGES, OUTPUT, PANELS, Option


@dataclass(frozen=True)
class Param:
    """One option of a command.

    ``kind``: the name of a :class:`~pytest_madengine.options.option.Kind`, or ``pair`` (``--x/--no-x``).
    """

    name: str
    kind: str
    help: str
    spellings: tuple[str, ...]
    metavar: str = ""
    default: str = ""
    panel: str = OUTPUT
    #: Value of the option without one, e.g. ``--resume``.
    const: str = ""
    #: Pytest option that it sets; ``None``: the command line alone has it.
    option: Option | None = None

    @property
    def dest(self) -> str:
        """Name of the parsed value."""
        return self.name.replace("-", "_")

    @property
    def shown(self) -> tuple[str, ...]:
        """The spellings of the help: the first, and one letter."""
        return (self.spellings[0], *(name for name in self.spellings[1:] if not name.startswith("--")))

    @property
    def aliases(self) -> tuple[str, ...]:
        """Further long spellings."""
        return tuple(name for name in self.spellings[1:] if name.startswith("--"))


VERBOSE: Final = Param("verbose", "flag", "show more", ("--verbose", "-v"))
WORKERS: Final = Param(
    "workers",
    "text",
    "run models at the same time: a number, or auto (as many as GPUs allow)",
    ("--workers", "-n"),
    "N|auto",
    panel=GPUS,
)
ON_COMPUTE: Final = Param(
    "build-on-compute",
    "flag",
    "build and push in a Slurm job; needs --registry and a slurm block in the context",
    ("--build-on-compute",),
    panel=IMAGES,
)
_BUILD_MANIFEST: Final = Param(
    "manifest-out",
    "path",
    "the build manifest",
    ("--manifest-output", "-m", "--manifest-out"),
    "FILE",
    default=DEFAULT_MANIFEST,
    panel=IMAGES,
    option=BY_NAME["manifest-out"],
)
#: What the commands have beside options of pytest.
_OWN: Final[Mapping[str, tuple[Param, ...]]] = {
    "run": (WORKERS, VERBOSE),
    "build": (_BUILD_MANIFEST, WORKERS, ON_COMPUTE, VERBOSE),
    "discover": (VERBOSE,),
    "export-config": (
        Param("output", "path", "the file", ("--output", "-o"), "FILE", default="execution_config.json"),
    ),
}


def _of_option(option: Option) -> Iterable[Param]:
    """The option as a parameter; one that is a pair of switches has a second one, for its value as a text."""
    first = option.spellings[0] if option.spellings else f"--{option.name}"
    is_pair = "/" in first
    yield Param(
        name=option.name,
        kind="pair" if is_pair else option.kind.name,
        help=f"{option.help} (default: {'on' if option.value(None) else 'off'})" if is_pair else option.help,
        spellings=(first,) if is_pair else option.spellings or (first,),
        metavar="" if is_pair else option.metavar,
        default="" if is_pair else option.default,
        panel=option.panel,
        const=option.const,
        option=option,
    )
    for spelling in option.spellings[1:] if is_pair else ():
        yield Param(
            *(spelling.removeprefix("--"), option.kind.name),
            "the same as a value: False, 0, no and off switch it off",
            *((spelling,), "VALUE"),
            panel=option.panel,
            option=option,
        )


@functools.cache
def of_command(command: str) -> tuple[Param, ...]:
    """The parameters of a command: its options by heading, so that what is used most comes first."""
    params = [param for option in OPTIONS if command in option.commands for param in _of_option(option)]
    params += _OWN.get(command, ())
    return tuple(sorted(params, key=lambda param: PANELS.index(param.panel)))


def pytest_words(params: Iterable[Param], values: Mapping[str, object]) -> list[str]:
    """What was given, as words for pytest; ``--mad-<name>=<value>``, so that no value looks like a path.

    Only parameters that are pytest options; the caller handles the others.

    :raises ConfigError: a value is of a wrong kind.
    """
    words: list[str] = []
    for param in params:
        value = values.get(param.dest)
        if param.option is None or value is None or value == []:
            continue
        name = param.option.names[0]
        if param.kind == "flag":
            words += [name] if value else []
        elif param.kind == "pair":
            words.append(f"{name}={'true' if value else 'false'}")
        else:
            checked_value(param, value)
            several = value if isinstance(value, list) else [value]
            words += [f"{name}={one}" for one in several]
    return words


def checked_value(param: Param, value: object) -> Any:
    """The value of a pytest option in the type that the engine works with.

    :raises ConfigError: it is of a wrong kind; the message has the spelling of the command line.
    """
    assert param.option is not None
    try:
        return param.option.value(value)
    except ValueError as error:
        raise ConfigError(f"{param.spellings[0]}: {str(value)!r:.60} is not {error}") from None
