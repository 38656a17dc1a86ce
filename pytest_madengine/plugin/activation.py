"""Turning the plugin on: where the MAD root is, which models are selected, which plugins work.

Everything that is wrong with options, selectors or context is found here, before anything runs, and is a
``pytest.UsageError`` (exit status 4).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_madengine.catalog.files import names_model_file
from pytest_madengine.catalog.model import Selected
from pytest_madengine.catalog.root import choose_root, existing_root, root_of_file
from pytest_madengine.credentials import known_secrets
from pytest_madengine.errors import ConfigError, MadError, Warned
from pytest_madengine.plan import placement
from pytest_madengine.plugin import options
from pytest_madengine.plugin.compat import load_conftests
from pytest_madengine.plugin.itemids import item_ids
from pytest_madengine.plugin.items import Markers, markers_key, session_key
from pytest_madengine.plugin.limits import check_limits
from pytest_madengine.plugin.xdist import workers
from pytest_madengine.secrets import Redactor
from pytest_madengine.session.session import MadSession
from pytest_madengine.settings import Settings
from pytest_madengine.util.text import file_name, visible

if TYPE_CHECKING:
    from pytest_madengine.data.provider import Provider


class MadWarning(pytest.PytestWarning):
    """Something in the MAD repository looks wrong but does not stop a run."""

    def __init__(self, text: str) -> None:
        super().__init__(visible(text))


def activate(config: pytest.Config) -> None:
    """Makes the session of this process and registers the plugins that do the work.

    :raises pytest.UsageError: options, selectors, context or repository files are wrong.
    """
    session = make_session(config)
    config.stash[markers_key] = Markers(register_markers(config, session))
    _add_arguments(config, session)
    _translate_deselect(config, session)
    from pytest_madengine.plugin.runner import RunningPlugin

    config.pluginmanager.register(RunningPlugin(config, session), "madengine-running")
    if not session.worker:
        from pytest_madengine.plugin.controller import Controller

        try:
            Controller.register(config, session)
        except MadError as error:
            raise _usage_error(error, config) from None
        _pin_rootdir(config)
    workers.register(config, session)
    config.add_cleanup(session.close)


def make_session(config: pytest.Config) -> MadSession:
    """The session of this process, made once: ``-n auto`` asks before pytest is configured.

    :raises pytest.UsageError: as :func:`activate`.
    """
    if session_key not in config.stash:
        try:
            session = config.stash[session_key] = _make_session(config)
            settings = session.settings
            session.redactor.add(*known_secrets(settings.root, settings.environ, settings.credentials))
            _load_conftests(config, session)
            session.data_providers = _data_providers(config)
            if not session.worker:
                _check(session)
                if session.selected and not (session.settings.build_only or config.option.collectonly):
                    placement.check_session(session.context, session.settings.environ)
        except MadError as error:
            raise _usage_error(error, config) from None
    return config.stash[session_key]


def _load_conftests(config: pytest.Config, session: MadSession) -> None:
    """Loads the conftest files beside the models, as their collection would.

    Only workers collect under xdist, while hooks such as sinks are called here; and a repository outside of
    the rootdir is not looked at before.  Their ``pytest_configure`` finds the session.

    :raises pytest.UsageError: one of them cannot be imported.
    """
    if not session.selected:
        return
    root = session.settings.root
    sources = dict.fromkeys(one.model.source for one in session.selected)
    for directory in dict.fromkeys((root, *((root / source).parent for source in sources))):
        load_conftests(config, directory)


def _usage_error(error: MadError, config: pytest.Config) -> pytest.UsageError:
    """What is wrong, also when a program of the repository said it: no secrets, nothing for the terminal."""
    environ = dict(os.environ)
    try:
        root = find_root(config, environ)
    except MadError:
        root = config.invocation_params.dir
    redact = Redactor(known_secrets(root, environ)).text
    lines = [error.message, *error.log_tail, error.hint]
    return pytest.UsageError("\n".join(visible(redact(line)) for line in lines if line))


def _make_session(config: pytest.Config) -> MadSession:
    environ = dict(os.environ)
    check_limits()
    _check_rootdir(config)
    payload = getattr(config, "workerinput", {}).get("mad")
    plan_only = options.raw_flag(config, "plan")
    if payload is not None:
        from pytest_madengine.session.factory import session_of_worker
        from pytest_madengine.session.worker import from_controller

        data = json.loads(payload)
        run_id, root, facts, selected = from_controller(data)
        settings = options.resolve(config, root, environ)
        session = session_of_worker(MadSession(settings, selected, run_id, worker=True, facts=facts), data)
    else:
        root = find_root(config, environ)
        settings = options.resolve(config, root, environ)
        session = _selected_session(config, settings, plan_only)
        if session.selected:
            _check_plugins(config)
    if plan_only:
        # Plans are printed in order by one process.
        config.option.numprocesses, config.option.dist, config.option.tx = None, "no", []
    return session


def _check_plugins(config: pytest.Config) -> None:
    """:raises ConfigError: an option of another plugin runs items in a way that cannot work for models."""
    if getattr(config.option, "reruns", None):
        raise ConfigError(
            "--reruns runs a model again outside of its timeout and reports it twice",
            hint="use --mad-retries N, which tries again after failures of the machine only",
        )
    if getattr(config.option, "forked", False):
        raise ConfigError(
            "--forked runs a model in a copy of this process, without its threads and locks: it would hang",
            hint="use -n N (pytest-xdist): each worker is a process of its own, and its end is accounted for",
        )


def _data_providers(config: pytest.Config) -> tuple[Provider, ...]:
    answers = config.hook.pytest_mad_data_providers(config=config)
    return tuple(provider for answer in answers for provider in answer or ())


def _selected_session(config: pytest.Config, settings: Settings, plan_only: bool) -> MadSession:
    from pytest_madengine.session.factory import check_options, session_of_files

    settings = check_options(settings, config.invocation_params.dir)
    session = session_of_files(settings, plan_only)
    if session is None:
        image_given = bool(settings.use_image)
        selected, warned = select(config, settings.root, settings.environ, settings.no_dynamic, image_given)
        session = MadSession(settings, selected, plan_only=plan_only, warnings=list(warned))
        if settings.manifest is not None:
            session.warnings.append(Warned("it is not there: everything is built", str(settings.manifest)))
    return session


def _pin_rootdir(config: pytest.Config) -> None:
    """Makes xdist workers use the rootdir and ini file of this process.

    A worker finds both anew from the same words, and by then the results directory exists: it would count
    as a test path (see :func:`_check_rootdir`) and give other node ids.
    """
    given = config.invocation_params
    words = [f"--rootdir={config.rootpath}"]
    if config.inipath is not None:
        words += ["-c", str(config.inipath)]
    config.invocation_params = pytest.Config.InvocationParams(
        args=(*words, *given.args), plugins=given.plugins, dir=given.dir
    )


def _check_rootdir(config: pytest.Config) -> None:
    """Refuses ``--mad-results-dir DIR`` where pytest took DIR for a test path.

    pytest chooses its rootdir before it knows the options of plugins; a separate word that is an existing
    path counts as a test path then, and the ini file of the repository would silently not be read.
    """
    here = config.invocation_params.dir.resolve()
    own_ini = config.inipath is not None and config.inipath.parent in (here, *here.parents)
    if own_ini or config.rootpath == here:
        return
    words = [str(word) for word in config.invocation_params.args]
    for option in options.OPTIONS:
        names = {f"--mad-{option.name}", *option.aliases}
        for name, value in pairwise(words):
            separate = option.kind == "path" and option.name != "root" and name in names
            if separate and (here / value).exists():
                raise ConfigError(
                    f"pytest takes {value} for a test path and {config.rootpath} for its rootdir",
                    hint=f"write {name}={value}",
                )


def _check(session: MadSession) -> None:
    """Finds errors of context, tools, launchers, images and output files before anything runs."""
    from pytest_madengine.perfcsv.table import PerfCsv
    from pytest_madengine.plan.gpus import parse_gpu_list
    from pytest_madengine.plan.launchers import launcher_of
    from pytest_madengine.plan.tools import select_tools
    from pytest_madengine.session.factory import check_images

    if not session.selected:
        return
    context = session.context
    session.warnings += [Warned(text) for text in context.warnings]
    if any(one.model.cred for one in session.selected):
        session.credentials  # noqa: B018 - notes its warnings before they are shown
    if any(one.model.data for one in session.selected):
        session.warnings += [Warned(text) for text in session.data.check()]
    if context.get("docker_gpus"):
        parse_gpu_list(str(context.get("docker_gpus")))
    select_tools(session.tools, context.get("tools"))
    launchers = {str(one.model.distributed.get("launcher")): one.model for one in session.selected}
    for model in launchers.values():
        launcher_of(model, context, session.settings.environ)
    check_images(session)
    if session.settings.resume:
        session.resumable  # noqa: B018 - names a session that does not exist early
    if not session.plan_only:
        PerfCsv(session.settings.output, session.settings.perf_csv_schema).check()


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


def register_markers(config: pytest.Config, session: MadSession) -> dict[str, str]:
    """Registers every tag of the selected models once, so that ``--strict-markers`` accepts them.

    :return: the marker name of each tag; one that no expression could hold is repaired.
    """
    names: dict[str, str] = {}
    for selected in session.selected:
        for tag in selected.model.tags:
            # pytest.mark refuses names that start with an underscore; -k still finds such a tag.
            if tag not in names and not tag.startswith("_"):
                names[tag] = "".join(char if char not in " (),'\"" else "_" for char in tag)
                config.addinivalue_line("markers", f"{names[tag]}: tag of MAD models")
    return names


def _translate_deselect(config: pytest.Config, session: MadSession) -> None:
    """Lets ``--deselect`` name a file of models by its path, where its node id is another text."""
    words = config.getoption("deselect", None) or []
    here, ids = config.invocation_params.dir, item_ids(config)
    for word in list(words):
        path_text, colons, name = word.partition("::")
        if path_text.rpartition("/")[2] in session.model_files:
            source = session.source_of((here / path_text).resolve())
            nodeid = f"{ids.of_source(source)}{colons}{name}"
            if nodeid not in words:
                words.append(nodeid)


def _add_arguments(config: pytest.Config, session: MadSession) -> None:
    """Lets pytest collect exactly the files that hold selected models.

    Without a path argument nothing else is collected and no tree is walked.
    """
    if any(names_model_file(argument) for argument in config.args):
        return
    files = dict.fromkeys(selected.model.source for selected in session.selected)
    arguments = [str(session.settings.root / name) for name in files]
    if not arguments:
        return
    tags, _ = options.raw_value(config, "tags", session.settings.environ)
    given = config.args_source is pytest.Config.ArgsSource.ARGS
    keep_walking = given or not tags
    config.args = [*config.args, *arguments] if keep_walking else arguments


def print_tags(config: pytest.Config) -> int:
    """``--mad-list-tags``: every tag with the number of its models and their names."""
    from pytest_madengine.catalog.service import list_models, list_tags

    environ = dict(os.environ)
    try:
        root = find_root(config, environ)
        no_dynamic = options.raw_flag(config, "no-dynamic")
        catalog = list_models(root, no_dynamic=no_dynamic, environ=environ)
    except MadError as error:
        raise _usage_error(error, config) from None
    tags = list_tags(catalog)
    width = max((len(tag) for tag in tags), default=0)
    for tag in sorted(tags):
        sys.stdout.write(f"{tag:<{width}}  {len(tags[tag]):>5}  {', '.join(tags[tag])}\n")
    sys.stdout.write(f"{len(tags)} tags, {len(catalog.models)} models\n")
    return 0
