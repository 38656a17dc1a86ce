"""Which models a run is about, and in which MAD root."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from pytest_madengine.catalog.files import names_model_file
from pytest_madengine.catalog.model import Selected
from pytest_madengine.catalog.root import choose_root, existing_root, root_of_file
from pytest_madengine.errors import ConfigError, Warned
from pytest_madengine.plugin import options
from pytest_madengine.util.text import file_name


def find_root(config: pytest.Config, environ: Mapping[str, str]) -> Path:
    """The MAD root: an explicit models.json argument, ``--mad-root``, ``MODEL_DIR``, else the rootdir or
    working directory that has a ``models.json``.

    :raises ConfigError: there is none.
    """
    raw, source = options.raw_value(config, "root", environ)
    # A manifest has the entries itself; only the scripts must be there.
    by_manifest = bool(options.raw_value(config, "manifest", environ)[0])
    here = config.invocation_params.dir
    if raw is None:
        for argument in config.args:
            if names_model_file(argument):
                return existing_root(root_of_file((here / argument.partition("::")[0]).resolve()))
    return choose_root(
        None if raw is None else Path(str(raw)),
        environ,
        here=config.rootpath if source == "ini" else here,
        candidates=(here, config.rootpath),
        by_manifest=by_manifest,
    )


def select(
    config: pytest.Config,
    root: Path,
    environ: Mapping[str, str],
    no_dynamic: bool,
    image_given: bool = False,
) -> tuple[tuple[Selected, ...], tuple[Warned, ...]]:
    """The models this run is about.

    ``--mad-tags`` wins; else the models of the files named on the command line; else, with ``-m`` or
    ``-k``, all models, of which pytest then selects; else none.

    :raises MadError: a selector or a repository file is wrong.
    """
    from pytest_madengine.catalog.service import list_models, select_models

    tags, _ = options.raw_value(config, "tags", environ)
    if tags:
        chosen = select_models(root, tags, no_dynamic=no_dynamic, environ=environ, image_given=image_given)
        return chosen.items, (*chosen.warnings, *_static_checks(root, chosen.items))
    named = [argument for argument in config.args if names_model_file(argument)]
    if named:
        return _select_named(config, root, environ, no_dynamic, named)
    if config.getoption("markexpr", "") or config.getoption("keyword", ""):
        catalog = list_models(root, no_dynamic=no_dynamic, environ=environ)
        if not catalog.models:
            return (), catalog.warnings
        # What list_models knows of dynamic models is provisional: update_model() was not called.
        chosen = select_models(root, ["all"], no_dynamic=no_dynamic, environ=environ)
        return chosen.items, (*chosen.warnings, *_static_checks(root, chosen.items))
    return (), ()


def _static_checks(root: Path, items: tuple[Selected, ...]) -> tuple[Warned, ...]:
    from pytest_madengine.catalog.checks import check_models

    return check_models(root, [item.model for item in items])


def _select_named(
    config: pytest.Config, root: Path, environ: Mapping[str, str], no_dynamic: bool, named: list[str]
) -> tuple[tuple[Selected, ...], tuple[Warned, ...]]:
    from pytest_madengine.catalog.ids import parse_item_name, selector_of
    from pytest_madengine.catalog.service import list_models, select_models

    here = config.invocation_params.dir
    items: dict[str, Selected] = {}
    warned: list[Warned] = []
    for argument in named:
        path_text, _, node = argument.partition("::")
        path = (here / path_text).resolve()
        if not path.is_file():
            raise ConfigError(f"file or directory not found: {path_text}")
        if root_of_file(path) != root:
            raise ConfigError(f"{path_text} does not belong to the MAD root {root}; run them separately")
        source = path.relative_to(root).as_posix()
        catalog = list_models(root, no_dynamic=no_dynamic, environ=environ, files={source})
        names = [model.name for model in catalog.models]
        if not node:
            selectors = [selector_of(name, names=names) for name in names]
            warned += catalog.warnings
        else:
            name, _ = parse_item_name(node, names)
            if name not in names:
                raise ConfigError(_no_such_item(argument, name, names))
            model = next(model for model in catalog.models if model.name == name)
            selectors = [selector_of(node, names=names, bases=_bases(root, model.dockerfile))]
        if not selectors:
            continue
        for selected in select_models(root, selectors, no_dynamic=no_dynamic, environ=environ).items:
            items.setdefault(f"{selected.model.name}[{selected.params_id}]", selected)
    selected_items = tuple(items.values())
    return selected_items, (*warned, *_static_checks(root, selected_items))


def _bases(root: Path, dockerfile: str) -> list[str]:
    """Base names of all Dockerfiles of a model, whatever their CONTEXT says."""
    path = root / dockerfile
    names = [entry.name for entry in path.parent.glob(f"{path.name}.*")] if dockerfile else []
    return [file_name(name.removesuffix(".Dockerfile")) for name in names]


def _no_such_item(argument: str, name: str, names: list[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name, names, n=5)
    return f"not found: {argument}" + (f" (did you mean {', '.join(close)}?)" if close else "")
