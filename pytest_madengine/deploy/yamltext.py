"""Data as YAML that every reader understands in the same way.

Python writes ``1e3``, ``08`` and ``y`` without quotes, which Go (kubectl) reads as numbers and a boolean.  So
only words that begin with a letter go without quotes here; every other text has them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from pytest_madengine.errors import ConfigError

if TYPE_CHECKING:
    import yaml

#: Texts that no reader takes for anything but text, unless they are one of the words below.
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*( [A-Za-z0-9_./,-]+)*", re.ASCII)
#: Characters of a text that may stand as it is over several lines; the others are line ends to some readers.
_ODD: Final = r"\x7f-\xa0\u2028\u2029\ufeff\ufffe\uffff"
_BLOCK: Final = re.compile(rf"[^\s\x00-\x1f{_ODD}][^\x00-\x08\x0b-\x1f{_ODD}]*")
_WORDS: Final = frozenset(
    {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf", "infinity"}
)


class Unsafe(str):
    """A text that Ansible must not take for a template (tag ``!unsafe``)."""

    __slots__ = ()


def dump_documents(documents: Iterable[Any], comment: str = "") -> str:
    """YAML documents in block style, keys in their order.

    :param comment: lines for the top of the file; constant text, never names or values of others.
    :raises ConfigError: a text is not valid Unicode.
    """
    import yaml

    try:
        text = yaml.dump_all(
            list(documents),
            Dumper=_dumper(),
            sort_keys=False,
            default_flow_style=False,
            allow_unicode=True,
            width=10_000,
            explicit_start=True,
        )
    except UnicodeEncodeError as error:
        raise ConfigError(f"a text is not valid Unicode: {error.object[:60]!r}") from None
    return "".join(f"# {line}".rstrip() + "\n" for line in comment.splitlines()) + text


@functools.cache
def _dumper() -> type[yaml.SafeDumper]:
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:  # kubectl reads them, people do not
            return True

        def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
            super().increase_indent(flow, False)

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        value.encode()  # a lone surrogate would become an escape that no reader accepts
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=_style(value))

    def unsafe(dumper: yaml.SafeDumper, value: Unsafe) -> yaml.ScalarNode:
        value.encode()
        return dumper.represent_scalar("!unsafe", str(value), style='"')

    Dumper.add_representer(str, text)
    Dumper.add_representer(Unsafe, unsafe)
    return Dumper


def _style(value: str) -> str | None:
    if "\n" in value and _BLOCK.fullmatch(value):
        return "|"  # where YAML allows it; otherwise the library takes quotes
    return None if _PLAIN.fullmatch(value) and value.lower() not in _WORDS else '"'
