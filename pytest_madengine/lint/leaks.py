"""Text that looks like a secret.  No function here returns the secret itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from pytest_madengine.secrets import MASK, Redactor, is_secret_name

#: Forms that are nothing else, by what they are.  Each begins with literal text and every repetition is
#: bounded, so that a search is fast, whatever the text.
_FORMS: Final[tuple[tuple[str, str], ...]] = (
    ("a GitHub token", r"gh[pousr]_[A-Za-z0-9]{36,251}|github_pat_[A-Za-z0-9_]{22,251}"),
    ("a GitLab token", r"glpat-[A-Za-z0-9_-]{20,100}"),
    ("an AWS access key", r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    ("a Slack token", r"xox[abeoprs]-[0-9]{1,30}-[A-Za-z0-9-]{10,250}"),
    ("a Hugging Face token", r"\bhf_[A-Za-z0-9]{30,100}"),
    ("an API key", r"(?<![A-Za-z0-9_-])sk-(?:proj-|ant-)?(?=[A-Za-z_-]{0,100}[0-9])[A-Za-z0-9_-]{24,250}"),
    ("a Docker Hub token", r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{20,100}"),
    ("a PyPI token", r"pypi-AgE[A-Za-z0-9_-]{20,250}"),
    ("an npm token", r"npm_[A-Za-z0-9]{36}"),
    ("a Google API key", r"AIza[0-9A-Za-z_-]{35}"),
    ("a private key", r"-----BEGIN (?:[A-Z0-9]{2,12} ){0,2}PRIVATE KEY-----"),
    (
        "a web token",
        r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{15,2000}\.eyJ[A-Za-z0-9_-]{15,2000}\.[A-Za-z0-9_-]{10,1000}",
    ),
    (
        "a password in a URL",
        r"://(?<=[A-Za-z0-9+.-]://)[^/\s:@\"'<>$]{1,100}:(?P<password>[^/\s:@\"'<>$]{1,100})@",
    ),
)
_PATTERNS: Final = tuple((kind, re.compile(form)) for kind, form in _FORMS)
#: What every form has: a quick look that most texts do not pass.
_MAYBE: Final = re.compile(
    r"gh[pousr]_|github_pat|glpat-|A[KS]IA|xox|hf_|sk-|dckr_|pypi-A|npm_|AIza|PRIVATE KEY|eyJ|://[^/\s]{1,210}@"
)
#: ``NAME=value`` at the beginning of a line, as shells, Dockerfiles and Python write it.
_ASSIGNMENT: Final = re.compile(
    r"^[ \t]*(?:(?:ENV|ARG|export|RUN export|declare -x)[ \t]+)?(?P<name>[A-Za-z_]\w{2,80})"
    r"(?:[ \t]*=[ \t]*|(?<=[A-Za-z0-9_])[ \t]+(?=\S))(?P<value>\"[^\"\n]*\"|'[^'\n]*'|[^\s;&|#]+)",
    re.MULTILINE,
)
#: ``--hf-token value`` in arguments.
_ARGUMENT: Final = re.compile(
    r"(?<!\S)--(?P<name>[A-Za-z][\w-]{2,80})(?:=|[ \t]+)(?P<value>\"[^\"]*\"|'[^']*'|[^\s-]\S*)"
)
#: Names that have the word and are no secret: ``MAX_TOKENS``, ``TOKENIZER``, ``token_dir``.
_HARMLESS_NAME: Final = re.compile(
    r"(?i)tokens(?:$|_)|tokeni[sz]|(?:max|min|num|new|eos|bos|pad|unk|per|input|output|prompt|special|stop)_?token"
    r"|token_?(?:id|len|length|count|limit|size|type|rate|per|path|file|dir|url|name|throughput)"
    r"|(?:secret|passw\w*|credentials?|key|api_?key)_?(?:path|file|dir|url|name|id|store|helper|mount)s?$"
)
#: Values that stand for one: variables, placeholders, paths, settings, calls.
_NO_VALUE: Final = re.compile(
    r"(?i)[$`<{(/~.%@*].*|.*[$`<(].*|true|false|none|null|yes|no|[-+.0-9]*|x+|\*+|.*(?:example|placeholder|changeme|"
    r"change_me|dummy|your[-_ ]|redacted|todo|not[-_]?set|secret://|vault:).*|os\..*|get\w*"
)
_SHORTEST: Final = 6


class Leak(NamedTuple):
    """Something that looks like a secret."""

    #: What it seems to be, e.g. ``a GitHub token``.
    what: str
    #: Offset in the text.
    offset: int
    #: True when its form leaves little doubt; false when only the name beside it says so.
    certain: bool = True


def find_leaks(text: str) -> Iterator[Leak]:
    """Secrets by their form, in any text."""
    if _MAYBE.search(text) is None:
        return
    for kind, pattern in _PATTERNS:
        for match in pattern.finditer(text):
            password = match.groupdict().get("password")
            if password is None or not _NO_VALUE.fullmatch(password):
                yield Leak(kind, match.start())


def find_assignments(text: str, *, python: bool = False) -> Iterator[Leak]:
    """Literal values of variables with the name of a secret, in scripts and Dockerfiles.

    :param python: only what stands in quotes is a literal.
    """
    for match in _ASSIGNMENT.finditer(text):
        if python and not match["value"].startswith(("'", '"')):
            continue
        spaced = "=" not in text[match.end("name") : match.start("value")]
        if spaced and not match[0].lstrip().startswith("ENV"):
            continue
        if is_secret_value(match["name"], match["value"]):
            yield Leak(f"the value of {match['name']}", match.start("name"), certain=False)


def find_arguments(text: str) -> Iterator[Leak]:
    """Literal values of arguments with the name of a secret."""
    for match in _ARGUMENT.finditer(text):
        if is_secret_value(match["name"].replace("-", "_"), match["value"]):
            yield Leak(f"the value of --{match['name']}", match.start("name"), certain=False)


def is_secret_value(name: str, value: object) -> bool:
    """True when a variable holds a literal secret, as far as its name and the form of the value tell."""
    if not isinstance(value, str) or not is_secret_name(name) or _HARMLESS_NAME.search(name):
        return False
    text = value.strip().strip("\"'").strip()
    return len(text) >= _SHORTEST and " " not in text and not _NO_VALUE.fullmatch(text)


def masked(text: str) -> str:
    """The text without anything that has the form of a secret."""
    text = _NO_SECRETS.text(text)
    if _MAYBE.search(text) is None:
        return text
    for _, pattern in _PATTERNS:
        text = pattern.sub(MASK, text)
    return text


_NO_SECRETS: Final = Redactor()
