"""The documentation as data: pages, code blocks with their marker comments, links, anchors.

A marker is an HTML comment on the line before a code block:

``<!-- run: repo=examples exit=0 layer=plugin -->``
    how the commands of a ``console`` or ``bash`` block are run.  Blocks with a ``pytest`` or ``madengine``
    command are run with these defaults when they have no marker.  ``repo`` is ``examples`` (a copy of
    examples/mad) or
    ``page`` (the files of the page); a page that has its own ``models.json`` defaults to ``page``.
    ``layer=e2e``: in real containers.
``<!-- file: NAME -->``
    the block is the content of that file for the commands that follow on the page.
``<!-- skip: REASON -->``
    the block is not run and its content is not checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).resolve().parent.parent
DOCS: Final = PROJECT / "docs"
README: Final = PROJECT / "README.md"

_FENCE: Final = re.compile(r"^(?P<indent> *)```(?P<language>[\w-]*) *$")
_MARKER: Final = re.compile(r"^ *<!-- (?P<kind>run|skip|file): *(?P<text>.*?) *-->$")


@dataclass(frozen=True)
class Block:
    """One code block."""

    page: Path
    #: Line of the opening fence, from 1.
    line: int
    language: str
    text: str
    #: ``run``, ``skip``, ``file`` or empty.
    marker: str = ""
    marker_text: str = ""
    #: Files of the page as they are where this block stands.
    files: dict[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """``docs/quick-start.md:12``"""
        return f"{self.page.relative_to(PROJECT)}:{self.line}"

    @property
    def attributes(self) -> dict[str, str]:
        """``key=value`` words of a ``run`` marker, with the defaults."""
        given = dict(word.split("=", 1) for word in self.marker_text.split()) if self.marker == "run" else {}
        repo = "page" if "models.json" in self.files else "examples"
        return {"repo": repo, "exit": "0", "layer": "plugin", **given}

    @property
    def commands(self) -> list[Command]:
        """Commands of a ``console`` block (after ``$ ``) or of a ``bash`` block, with the output shown."""
        found: list[Command] = []
        for line in self.text.splitlines():
            if self.language == "console":
                if line.startswith("$ "):
                    found.append(Command(line[2:].partition("  # ")[0].strip()))
                elif found:
                    found[-1].output.append(line)
            elif self.language == "bash" and line.strip() and not line.startswith("#"):
                found.append(Command(line.strip()))
        return found

    @property
    def is_run(self) -> bool:
        """True when a test must run this block."""
        if self.language not in ("console", "bash") or self.marker in ("skip", "file"):
            return False
        return any(command.is_ours for command in self.commands)


@dataclass
class Command:
    """One command and the output that the page shows for it."""

    text: str
    output: list[str] = field(default_factory=list)

    @property
    def is_pytest(self) -> bool:
        return re.match(r"(\w+=\S+ )*pytest( |$)", self.text) is not None

    @property
    def is_ours(self) -> bool:
        """True for pytest and for our command lines: their exit status is compared."""
        names = r"madengine(-cli)?|python -m (pytest_madengine|madengine\.distributed_cli)"
        return self.is_pytest or re.match(rf"(\w+=\S+ )*({names})( |$)", self.text) is not None


def pages() -> list[Path]:
    """Every page, and the README."""
    return [README, *sorted(DOCS.rglob("*.md"))]


def blocks_of(page: Path) -> list[Block]:
    """The code blocks of a page in order."""
    found: list[Block] = []
    files: dict[str, str] = {}
    lines = page.read_text(encoding="utf-8").splitlines()
    marker = ("", "")
    position = 0
    while position < len(lines):
        fence = _FENCE.match(lines[position])
        comment = _MARKER.match(lines[position])
        if comment:
            marker = (comment["kind"], comment["text"])
        elif fence and fence["language"]:
            end = lines.index(f"{fence['indent']}```", position)
            body = [line.removeprefix(fence["indent"]) for line in lines[position + 1 : end]]
            text = "\n".join(body) + "\n"
            found.append(Block(page, position + 1, fence["language"], text, *marker, files=dict(files)))
            if marker[0] == "file":
                files[marker[1]] = text
            marker, position = ("", ""), end
        elif lines[position].strip():
            marker = ("", "")
        position += 1
    return found


def all_blocks() -> list[Block]:
    """The code blocks of all pages."""
    return [block for page in pages() for block in blocks_of(page)]


def runnable(layer: str) -> list[Block]:
    """The blocks that a layer of tests runs."""
    return [block for block in all_blocks() if block.is_run and block.attributes["layer"] == layer]


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def links(page: Path) -> Iterator[str]:
    """Targets of the Markdown links of a page."""
    text = re.sub(r"`[^`\n]*`", "", prose(page))
    yield from re.findall(r"\]\(([^)\s]+)\)", text)


def anchors(page: Path) -> set[str]:
    """Anchors of the headings of a page, as Python-Markdown's ``toc`` extension makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE):
        slug = re.sub(r"[^\w\s-]", "", heading.strip()).strip().lower()
        found.add(re.sub(r"[-\s]+", "-", slug))
    return found


def missing_output(shown: list[str], actual: str) -> list[str]:
    """The lines a page shows that a run did not print, in the order of the page.

    Numbers, session ids, run lengths of rulers and blanks may differ; ``...`` stands for anything, in a line
    of its own for any lines; a text that pytest or the plugin cut off (``…``) is compared up to there.
    """
    printed = [_normal(line) for line in actual.splitlines()]
    return [line for line in shown if line.strip() not in ("", "...") and not _found(line, printed)]


def _found(line: str, printed: list[str]) -> bool:
    pattern = ".*".join(re.escape(part.strip()) for part in re.split(r"\.\.\.|…", _normal(line)))
    return any(re.fullmatch(pattern, text) or re.fullmatch(pattern + ".*", text) for text in printed)


def _normal(line: str) -> str:
    line = re.sub(r"\x1b\[[0-9;]*m", "", line)
    line = re.sub(r"\d{8}T\d{6}(?:\.\d{3})?Z-[0-9a-f]{4}", "SESSION", line)
    line = re.sub(r"([=_-])\1{2,}", r"\1", line)
    line = re.sub(r"\[ *\d+%\]", "", line)
    line = re.sub(r"(?<![\w.\[=])\d+(\.\d+)?(?=s?\b)", "N", line)
    return " ".join(line.split())
