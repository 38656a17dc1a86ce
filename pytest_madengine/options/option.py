"""What an option is: its kind of value, how that is read, and where the option appears.

Every pytest run of the environment imports this module: plain classes cost a tenth of dataclasses there.
"""

from __future__ import annotations

from collections.abc import Callable
from math import nan
from pathlib import Path
from typing import Any, Final

#: Panels: headings of ``--help`` of the command lines, in their order.
SELECT, CONTEXT, RUNNING, IMAGES = "Models", "Context", "Running", "Images"
GPUS, OUTPUT, SAFETY = "GPUs and parallel runs", "Results", "Strictness and safety"
PANELS: Final = (SELECT, CONTEXT, RUNNING, IMAGES, GPUS, OUTPUT, SAFETY)
#: Commands that have an option unless it names others.
ALL: Final = ("run", "build", "plan")

#: Seconds of the longest limit, some 31 years: more than that overflows in a wait.
LONGEST_LIMIT: Final = 10**9
_DIGITS: Final = len(str(LONGEST_LIMIT))

_TRUE: Final = ("1", "true", "yes", "on")
_FALSE: Final = ("0", "false", "no", "off")


def _is_true(raw: Any) -> bool:
    text = str(raw).strip().lower()
    if text not in _TRUE and text not in _FALSE:
        raise ValueError("true or false")
    return text in _TRUE


def _is_whole(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _DIGITS


def _whole_seconds(raw: Any) -> int:
    text = str(raw).strip()
    if text == "-1":
        return -1
    if not _is_whole(text) or int(text) > LONGEST_LIMIT:
        raise ValueError(f"a whole number of seconds up to {LONGEST_LIMIT}, or -1 for none")
    return int(text)


def _seconds(raw: Any) -> float | None:
    try:
        value = float(str(raw))
    except ValueError:
        value = nan
    if value != -1 and not 0 <= value <= LONGEST_LIMIT:
        raise ValueError(f"a number of seconds up to {LONGEST_LIMIT}, or -1 for none")
    return value if value > 0 else None


def _count(raw: Any) -> int:
    text = str(raw).strip()
    if not _is_whole(text) or int(text) > LONGEST_LIMIT:
        raise ValueError(f"a whole number from 0 to {LONGEST_LIMIT}")
    return int(text)


def _share(raw: Any) -> float:
    try:
        value = float(str(raw).strip().removesuffix("%"))
    except ValueError:
        value = nan
    if not 0 < value < 100:
        raise ValueError("a percentage between 0 and 100, e.g. 5%")
    return value / 100


def _path(raw: Any) -> Path | None:
    text = str(raw)
    try:
        return Path(text).expanduser() if text.strip() else None
    except RuntimeError:
        raise ValueError("a path: the user behind ~ is unknown") from None


def _texts(raw: Any) -> tuple[str, ...]:
    return (raw,) if isinstance(raw, str) else tuple(raw)


def _words(raw: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(raw).replace(",", " ").split()))


class Kind:
    """What values an option takes.

    :param name: how the command lines tell kinds apart.
    :param shown: what the reference says of it.
    :param convert: the value of what was given; its ``ValueError`` says what that should have been.
    :param empty: the value when nothing is given.
    :param ini: type of the ini twin.
    """

    __slots__ = ("convert", "empty", "ini", "name", "shown")

    def __init__(
        self, name: str, shown: str, convert: Callable[[Any], Any], empty: Any = None, ini: Any = "string"
    ) -> None:
        self.name = name
        self.shown = shown
        self.convert = convert
        self.empty = empty
        self.ini = ini

    def __repr__(self) -> str:
        return self.name


TEXT: Final = Kind("text", "text", str, "")
PATH: Final = Kind("path", "path", _path)
LIST: Final = Kind("list", "text, repeatable", _texts, (), "args")
#: Like :data:`LIST`; on the command lines several words may follow, ``--tags a b``.
SEVERAL: Final = Kind("several", "text, repeatable", _texts, (), "args")
WORDS: Final = Kind("words", "words, split at commas and blanks", _words, ())
FLAG: Final = Kind("flag", "none (a switch)", _is_true, False, "bool")
BOOLEAN: Final = Kind("boolean", "`true` or `false`", _is_true)
INT: Final = Kind("int", "whole seconds, 0 or -1 for none", _whole_seconds)
SECONDS: Final = Kind("seconds", "seconds, 0 or -1 for none", _seconds)
COUNT: Final = Kind("count", "whole number", _count)


PERCENT: Final = Kind("percent", "percentage", _share)
#: A database or a file; a path is relative like any other.
SOURCE: Final = Kind("source", "database URL or path", str, "")


class Option:
    """One option.

    :param aliases: further spellings of the pytest option.
    :param const: value of the option without a value: ``--mad-resume``; it then needs ``=`` to have one.
    :param spellings: those of the command lines, when it is not ``--<name>`` alone.  ``--x/--no-x`` is a pair
        of switches; the next spelling then takes the value as a text.
    :param panel: heading of ``--help``.
    :param commands: those that have it.
    :param usual: of a file: where it is below the MAD root when nobody names it.
    :param activates: its environment or ini twin alone turns the plugin on: it says what to run.
    :param setting: it is a field of :class:`~pytest_madengine.settings.Settings`.
    """

    __slots__ = (
        *("activates", "aliases", "choices", "commands", "const", "default", "dest", "help", "kind"),
        *("metavar", "name", "panel", "setting", "spellings", "usual"),
    )

    def __init__(
        self,
        name: str,
        kind: Kind,
        help: str,
        metavar: str = "",
        *,
        default: str = "",
        choices: tuple[str, ...] = (),
        aliases: tuple[str, ...] = (),
        const: str = "",
        spellings: tuple[str, ...] = (),
        panel: str = OUTPUT,
        commands: tuple[str, ...] = ALL,
        usual: str = "",
        activates: bool = False,
        setting: bool = True,
    ) -> None:
        self.name = name
        self.kind = kind
        self.help = help
        self.metavar = metavar
        self.default = default
        self.choices = choices
        self.aliases = aliases
        self.const = const
        self.spellings = spellings
        self.panel = panel
        self.commands = commands
        self.usual = usual
        self.activates = activates
        self.setting = setting
        #: Name of the parsed value and of the ini twin.
        self.dest = "mad_" + name.replace("-", "_")

    def __repr__(self) -> str:
        return f"Option({self.name!r})"

    @property
    def names(self) -> tuple[str, ...]:
        """Spellings of the pytest option."""
        return (f"--mad-{self.name}", *self.aliases)

    @property
    def env(self) -> str:
        """Name of the environment twin."""
        return "MAD_PYTEST_" + self.name.replace("-", "_").upper()

    @property
    def field(self) -> str:
        """Name of the field of the settings."""
        return self.name.replace("-", "_")

    def value(self, raw: Any) -> Any:
        """The value in the type that the engine works with.

        :param raw: what was given, in the environment a text; ``None``: nothing.
        :raises ValueError: it is of a wrong kind; the message says what it should be.
        """
        if raw is None:
            return self.kind.convert(self.default) if self.default else self.kind.empty
        if self.choices and raw not in self.choices:
            raise ValueError("one of " + ", ".join(self.choices))
        value = self.kind.convert(raw)
        return self.value(None) if value is None and self.kind is PATH else value
