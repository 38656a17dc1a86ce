"""``$NAME`` and ``${NAME}`` of ``env_vars`` and docker options: variables of the host that runs.

Contract 22.2.  Nothing else of a shell is known here: ``$(...)``, ``${NAME:-x}`` and ``$1`` stay as they are,
and ``$$NAME`` is the text ``$NAME``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from pytest_madengine.errors import PlanError
from pytest_madengine.secrets import Secret, is_secret_name

_NAME: Final = r"[A-Za-z_][A-Za-z0-9_]*"
_REFERENCE: Final = re.compile(rf"\$(?:(?P<literal>\$)(?={_NAME}|\{{{_NAME}\}})|({_NAME})|\{{({_NAME})\}})")
_WHOLE: Final = re.compile(rf"(?:\$(?:{_NAME}|\{{{_NAME}\}}))+")


@dataclass
class Expander:
    """Expands texts with the variables of one host."""

    environ: Mapping[str, str]
    #: False: the host that runs is another one, which expands; texts stay as they are.
    here: bool = True
    #: Values of variables with secret names that went into texts.
    secrets: set[str] = field(default_factory=set)

    def text(self, text: str, where: str) -> str:
        """The text with the values of the variables it names.

        :param where: place of the text, for the message.
        :raises PlanError: a variable is not set; the text names it.
        """
        if not self.here or "$" not in text:
            return text

        def value(match: re.Match[str]) -> str:
            if match["literal"]:
                return "$"
            name = match[2] or match[3]
            if name not in self.environ:
                raise PlanError(
                    f"{where} needs the environment variable {name}, which is not set on this host",
                    hint=f"set it, or write ${match[0]} for the text {match[0]} itself",
                )
            if is_secret_name(name) and self.environ[name]:
                self.secrets.add(self.environ[name])
            return self.environ[name]

        return _REFERENCE.sub(value, text)

    def typed(self, text: str, where: str) -> str | Secret:
        """As :meth:`text`; a :class:`Secret` when the value of a variable with a secret name went in.

        :raises PlanError: a variable is not set; the text names it.
        """
        expanded = self.text(text, where)
        return Secret(expanded) if any(secret in expanded for secret in self.secrets) else expanded


def names_in(text: str) -> tuple[str, ...]:
    """The variables a text names, in their order."""
    found = (match[2] or match[3] for match in _REFERENCE.finditer(text) if not match["literal"])
    return tuple(dict.fromkeys(found))


def without_names(text: str) -> str:
    """The text without what is expanded; a ``$`` that is left is syntax of a shell."""
    return _REFERENCE.sub("", text)


def with_names(text: str, value: str) -> str:
    """The text with one value for every variable."""
    return _REFERENCE.sub(lambda match: "$" if match["literal"] else value, text)


def is_reference(text: str) -> bool:
    """True for a text of nothing but variables: it says where a value is, and is none itself."""
    return _WHOLE.fullmatch(text) is not None


def escaped(text: str) -> str:
    """The text that expands to this one."""
    return _REFERENCE.sub(lambda match: f"${match[0]}", text)
