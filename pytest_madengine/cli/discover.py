"""``discover`` and ``export-config``: what a repository has, without pytest and without an engine."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from pytest_madengine.cli.common import say, warn
from pytest_madengine.credentials import known_secrets
from pytest_madengine.errors import ConfigError, MadError
from pytest_madengine.secrets import Redactor
from pytest_madengine.util.text import tree


def discover(values: dict[str, Any], words: list[str]) -> int:
    """List the models of the repository.

    Without --tags: their number and their names.  With --tags: the selected entries as JSON, parameters
    already inside args.

    Examples:

      madengine discover

      madengine discover --tags dummy3/dummy_3:batch_size=512:in=32
    """
    from pytest_madengine.catalog.root import choose_root

    root = choose_root(_path(values.get("root")), os.environ, here=Path.cwd())
    no_dynamic = bool(values.get("no_dynamic"))
    redactor = Redactor(known_secrets(root, os.environ))
    try:
        return _listed(values, root, no_dynamic, redactor)
    except MadError as error:  # perhaps what a get_models_json.py said
        error.message, error.hint = redactor.text(error.message), redactor.text(error.hint)
        error.log_tail = tuple(map(redactor.text, error.log_tail))
        raise


def _listed(values: dict[str, Any], root: Path, no_dynamic: bool, redactor: Redactor) -> int:
    if values.get("tags"):
        return _selected(root, values["tags"], no_dynamic, redactor)
    from pytest_madengine.catalog.service import list_models

    catalog = list_models(root, no_dynamic=no_dynamic, environ=os.environ)
    for warning in catalog.warnings:
        warn(redactor.text(warning.message))
    say(f"Number of models in total: {len(catalog.models)}")
    for model in catalog.models:
        more = f"  {model.source}  [{', '.join(model.tags)}]" if values.get("verbose") else ""
        say(f"{model.name}{more}")
    return 0


def _selected(root: Path, tags: list[str], no_dynamic: bool, redactor: Redactor) -> int:
    from pytest_madengine.catalog.ids import selected_entry
    from pytest_madengine.catalog.service import select_models

    chosen = select_models(root, tags, no_dynamic=no_dynamic, environ=os.environ)
    for warning in chosen.warnings:
        warn(redactor.text(warning.message))
    entries = [tree(selected_entry(item), redactor.text, redactor.name) for item in chosen.items]
    say(json.dumps(entries, indent=4))
    return 0


def export_config(values: dict[str, Any], words: list[str]) -> int:
    """Write the selected models and their context as JSON, for other tools.

    Secrets are replaced by where they come from: {"from_env": NAME} or {"from_credential": KEY.FIELD}.

    Examples:

      madengine-cli export-config --tags dummy --output execution_config.json
    """
    from pytest_madengine.catalog.root import choose_root
    from pytest_madengine.generate.exportconfig import export
    from pytest_madengine.settings import Settings
    from pytest_madengine.util.files import write_atomic

    if not values.get("tags"):
        raise ConfigError("no models are selected", hint="give --tags NAME or TAG, or --tags all")
    settings = Settings(
        root=choose_root(_path(values.get("root")), os.environ, here=Path.cwd()),
        results_dir=Path("mad-results").absolute(),
        output=Path("perf.csv").absolute(),
        tags=tuple(values["tags"]),
        context=values.get("context") or "",
        context_file=_path(values.get("context_file")),
        credentials=_path(values.get("credentials")),
        tools_config=_path(values.get("tools_config")),
        no_dynamic=bool(values.get("no_dynamic")),
        environ=dict(os.environ),
    )
    path = _path(values.get("output")) or Path("execution_config.json")
    content, warnings = export(settings)
    for text in warnings:
        warn(text)
    try:
        write_atomic(path, json.dumps(content, indent=2) + "\n")
    except OSError as error:
        raise ConfigError(f"--output {path}: {error.strerror or error}") from None
    say(f"{len(content['models'])} models written to {path}")
    return 0


def _path(text: str | None) -> Path | None:
    return Path(text).expanduser().absolute() if text else None
