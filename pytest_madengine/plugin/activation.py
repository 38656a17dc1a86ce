"""Turning the plugin on: where the MAD root is, which models are selected, which plugins work.

Everything that is wrong with options, selectors or context is found here, before anything runs, and is a
``pytest.UsageError`` (exit status 4).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from pytest_madengine.catalog.files import names_model_file
from pytest_madengine.credentials import known_secrets
from pytest_madengine.errors import ConfigError, MadError, Warned
from pytest_madengine.options import OPTIONS
from pytest_madengine.options.option import PATH
from pytest_madengine.plan import placement
from pytest_madengine.plugin import options
from pytest_madengine.plugin.compat import load_conftests
from pytest_madengine.plugin.itemids import item_ids
from pytest_madengine.plugin.keys import session_key
from pytest_madengine.plugin.limits import check_limits
from pytest_madengine.plugin.logs import redact_logs
from pytest_madengine.plugin.markers import Markers, markers_key, register_markers
from pytest_madengine.plugin.selection import find_root, select
from pytest_madengine.plugin.xdist import workers
from pytest_madengine.secrets import Redactor
from pytest_madengine.session.session import MadSession
from pytest_madengine.settings import Settings
from pytest_madengine.util.ends import asked
from pytest_madengine.util.text import one_line, visible

if TYPE_CHECKING:
    from pytest_madengine.data.provider import Provider


def activate(config: pytest.Config) -> None:
    """Makes the session of this process and registers the plugins that do the work.

    :raises pytest.UsageError: options, selectors, context or repository files are wrong.
    """
    options.from_ini(config, "mad_junit_properties")  # a wrong value is an error now, not in the middle
    session = make_session(config)
    config.stash[markers_key] = Markers(register_markers(config, session))
    _add_arguments(config, session)
    _translate_deselect(config, session)
    from pytest_madengine.plugin.runner import RunningPlugin

    config.pluginmanager.register(RunningPlugin(config, session), "madengine-running")
    if not session.worker:
        try:
            _register_controller(config, session)
        except MadError as error:
            raise _usage_error(error, config) from None
        _pin_rootdir(config)
    workers.register(config, session)
    config.add_cleanup(session.close)


def _register_controller(config: pytest.Config, session: MadSession) -> None:
    """Registers the controller, the sinks and the views."""
    from pytest_madengine.plugin.controller import Controller
    from pytest_madengine.plugin.html import HtmlColumns
    from pytest_madengine.plugin.ledger import Ledger, ledger_key
    from pytest_madengine.plugin.terminal import TerminalView
    from pytest_madengine.sinks.files import DatabaseSink, FileSinks
    from pytest_madengine.sinks.summaries import Summaries

    ledger = config.stash[ledger_key] = Ledger(config, session)
    manager = config.pluginmanager
    manager.register(Controller(config, session, ledger), "madengine-controller")
    manager.register(TerminalView(config, session, ledger), "madengine-terminal")
    if session.plan_only:
        return
    manager.register(FileSinks(session), "madengine-files")
    if session.settings.db:
        manager.register(DatabaseSink(session), "madengine-database")
    manager.register(Summaries(session), "madengine-summaries")
    if session.settings.report is not None:
        from pytest_madengine.sinks.site import SiteSink

        manager.register(SiteSink(session, session.settings.report), "madengine-report")
    if _wants_ci_outputs(session):
        from pytest_madengine.sinks.ci import CiOutputs

        manager.register(CiOutputs(session, ledger.note_sink_error), "madengine-ci")
    if manager.hasplugin("html"):
        manager.register(HtmlColumns(session, ledger), "madengine-html")


def _wants_ci_outputs(session: MadSession) -> bool:
    settings = session.settings
    on_github = settings.github_summary and settings.environ.get("GITHUB_ACTIONS") == "true"
    summary = settings.github_summary and settings.environ.get("GITHUB_STEP_SUMMARY")
    return bool(on_github or summary or settings.openmetrics or settings.benchmark_json)


def make_session(config: pytest.Config) -> MadSession:
    """The session of this process, made once: ``-n auto`` asks before pytest is configured.

    :raises pytest.UsageError: as :func:`activate`.
    """
    if session_key not in config.stash:
        try:
            session = config.stash[session_key] = _make_session(config)
            settings = session.settings
            session.redactor.add(*known_secrets(settings.root, settings.environ, settings.credentials))
            config.add_cleanup(redact_logs(session.redactor))
            _load_conftests(config, session)
            session.data_providers = _data_providers(config)
            if not session.worker:
                _check(session)
                if session.selected and not (session.settings.build_only or config.option.collectonly):
                    placement.check_session(session.context, session.settings.environ)
                    _check_gate(session)
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
    plan_only = options.runs_nothing(config)
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
    """What the hooks of users give.

    :raises ConfigError: one raises, or gives something else than providers.
    """
    hook = "hook pytest_mad_data_providers"
    hint = "see the conftest.py or the plugin that implements it"
    try:
        answers = config.hook.pytest_mad_data_providers(config=config)
    except MadError:
        raise
    except BaseException as error:  # whatever it is, SystemExit too: no session without its data
        if isinstance(error, KeyboardInterrupt) and asked():
            raise
        raise ConfigError(f"{hook}: {type(error).__name__}: {one_line(str(error))}", hint=hint) from None
    for answer in answers:
        if not (isinstance(answer, Sequence) and all(map(_is_named, answer))):
            kind = type(answer).__name__
            raise ConfigError(f"{hook} gives a value of type {kind}, not a list of providers", hint=hint)
    return tuple(provider for answer in answers for provider in answer)


def _is_named(provider: object) -> bool:
    return isinstance(getattr(provider, "name", None), str)


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
    for option in OPTIONS:
        # The MAD root as the rootdir is what its user means.
        if option.kind is not PATH or option.name == "root":
            continue
        for name, value in pairwise(words):
            if name in option.names and (here / value).exists():
                raise ConfigError(
                    f"pytest takes {value} for a test path and {config.rootpath} for its rootdir",
                    hint=f"write {name}={value}",
                )


def _check_gate(session: MadSession) -> None:
    """Reads what performance is compared with, before anything runs."""
    from pytest_madengine.session.gating import OFF, gate_mode

    if session.plan_only or all(gate_mode(session.settings, one.model) == OFF for one in session.selected):
        return
    from pytest_madengine.pipeline.gate import check_gate

    check_gate(session)


def _check(session: MadSession) -> None:
    """Finds errors of context, tools, launchers, images and output files before anything runs."""
    from pytest_madengine.perfcsv.table import PerfCsv
    from pytest_madengine.plan.gpus import parse_gpu_list
    from pytest_madengine.plan.launchers import launcher_of
    from pytest_madengine.plan.tools import select_tools
    from pytest_madengine.session.factory import check_images
    from pytest_madengine.session.outputs import check_outputs

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
        check_outputs(session.settings, data=any(one.model.data.strip() for one in session.selected))


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
