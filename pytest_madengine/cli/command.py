"""Commands from tables: typer commands whose options are :class:`~pytest_madengine.cli.params.Param`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from pytest_madengine.cli.common import ExitCode, draw, reports_errors
from pytest_madengine.cli.params import Param
from pytest_madengine.errors import ConfigError

#: What a command does with its values: the name of the parameter to what was given, and pytest's own words.
Body = Callable[[dict[str, Any], list[str]], int]


#: Where a command finds the words after ``--``.
_PYTEST_WORDS = "pytest_madengine.words"
#: Where a command finds whether --verbose stood before its name.
_VERBOSE = "pytest_madengine.verbose"


def set_verbose(context: typer.Context, verbose: bool) -> None:
    """``--verbose`` before the name of a command is the same as after it; where it means nothing, nothing."""
    context.meta[_VERBOSE] = verbose


class MadCommand(TyperCommand):
    """``--tags`` takes several words, ``--resume`` none if one likes, and options have further spellings.

    What follows ``--`` is for pytest.
    """

    params_table: tuple[Param, ...] = ()

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Rewrites the words that the parser does not understand, then parses."""
        end = args.index("--") if "--" in args else len(args)
        ctx.meta[_PYTEST_WORDS] = args[end + 1 :]
        return super().parse_args(ctx, list(rewritten(args[:end], self.params_table)))


class MadGroup(TyperGroup):
    """A wrong argument ends with 4, and no command at all shows the help and ends with 0 (contract 19)."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parses the words of the group."""
        if not args and not self.invoke_without_command:
            draw(ctx.get_help())
            ctx.exit(0)
        return super().parse_args(ctx, args)

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Parses the words of the group itself."""
        with _invalid_arguments():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        """Parses the words of the command, and runs it."""
        with _invalid_arguments():
            return super().invoke(ctx)


@contextmanager
def _invalid_arguments() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # The classes of usage errors have no public name that all versions of typer share.
        if getattr(error, "exit_code", None) == 2 and hasattr(error, "format_message"):
            error.exit_code = int(ExitCode.INVALID_ARGS)  # type: ignore[attr-defined]
        raise


def rewritten(args: Sequence[str], table: Sequence[Param]) -> Iterator[str]:
    """``--tags a b`` as ``--tags a --tags b``, ``--resume`` as ``--resume=last``, aliases spelled out."""
    aliases = {alias: param.spellings[0] for param in table for alias in param.aliases}
    several = {spelling for param in table if param.kind == "several" for spelling in param.shown}
    valueless = {param.spellings[0]: param.const for param in table if param.const}
    words = [_first_spelling(word, aliases) for word in args]
    current = ""  # the spelling whose words follow
    for place, word in enumerate(words):
        following = words[place + 1] if place + 1 < len(words) else "--"
        if word in several:
            current = word
            if _is_option(following):
                yield word  # the parser says that its value is missing
        elif current and not _is_option(word):
            yield from (current, word)
        else:
            current = ""
            yield f"{word}={valueless[word]}" if word in valueless and _is_option(following) else word


def _first_spelling(word: str, aliases: Mapping[str, str]) -> str:
    name, equals, value = word.partition("=")
    return f"{aliases[name]}{equals}{value}" if name in aliases else word


def _is_option(word: str) -> bool:
    return word.startswith("-") and word != "-"


def add_command(
    app: typer.Typer,
    name: str,
    params: Iterable[Param],
    body: Body,
    panel: str,
    *,
    pytest_words: bool = False,
) -> None:
    """Adds a command whose help is the docstring of ``body``.

    :param pytest_words: what follows ``--`` is passed on to pytest.
    """
    table = tuple(params)

    def command(typer_context: typer.Context, **values: Any) -> int:
        words = typer_context.meta[_PYTEST_WORDS]
        if words and not pytest_words:
            raise ConfigError(
                f"unexpected argument {words[0]!r}", hint="this command passes nothing to pytest"
            )
        if "verbose" in values and typer_context.meta.get(_VERBOSE):
            values["verbose"] = True
        return body(values, words)

    first = inspect.Parameter(
        "typer_context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
    )
    signature = inspect.Signature([first, *map(_parameter, table)])
    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in signature.parameters.values()}
    command.__name__ = name.replace("-", "_")
    command.__doc__ = (body.__doc__ or "") + (_WORDS_HELP if pytest_words else "")
    app.command(
        name, cls=type("TableCommand", (MadCommand,), {"params_table": table}), rich_help_panel=panel
    )(reports_errors(command))


_WORDS_HELP = """
    Arguments after -- go to pytest, e.g. -- --junitxml=junit.xml --html=report.html.
    """


_TYPES: Mapping[str, Any] = {"int": int, "several": list[str], "list": list[str], "pair": bool}


def _parameter(param: Param) -> inspect.Parameter:
    options: dict[str, Any] = {"help": _help(param), "rich_help_panel": param.panel, "show_default": False}
    if param.kind not in ("flag", "pair"):
        options["metavar"] = param.metavar or None
    if param.name == "tags":
        options["autocompletion"] = complete_tags
    kind: Any = bool if param.kind == "flag" else _TYPES.get(param.kind, str) | None
    return inspect.Parameter(
        param.dest,
        inspect.Parameter.KEYWORD_ONLY,
        default=False if param.kind == "flag" else None,
        annotation=Annotated[kind, typer.Option(*param.shown, **options)],
    )


def _help(param: Param) -> str:
    text = param.help[:1].upper() + param.help[1:]
    notes = [f"default: {param.default}"] if param.default else []
    notes += [f"also {', '.join(param.aliases)}"] if param.aliases else []
    return text + (f" ({'; '.join(notes)})" if notes else "")


def complete_tags(incomplete: str) -> list[str]:
    """Shell completion: names, tags and short names of the repository of the current directory.

    Nothing is executed for it, so models of ``get_models_json.py`` are not offered.
    """
    import os

    from pytest_madengine.catalog.root import choose_root
    from pytest_madengine.catalog.service import list_models
    from pytest_madengine.errors import MadError

    try:
        root = choose_root(None, os.environ, here=Path.cwd())
        catalog = list_models(root, no_dynamic=True, environ=os.environ)
    except MadError:
        return []  # a shell has no place for the message; the command itself will say it
    head, comma, last = incomplete.rpartition(",")
    names = {name for model in catalog.models for name in (model.name, *model.tags)} | {"all"}
    return sorted(f"{head}{comma}{name}" for name in names if name.startswith(last))
