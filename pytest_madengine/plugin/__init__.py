"""pytest hooks of pytest-madengine (entry point ``pytest11``).

Imported by every pytest run of the environment, so it imports nothing but pytest and the option table.
All work is done by the objects that :func:`pytest_configure` registers when the plugin is active.
"""

from __future__ import annotations

import pytest

from pytest_madengine.plugin import hookspec, options
from pytest_madengine.plugin.fixtures import (
    mad_artifacts,
    mad_context,
    mad_credentials,
    mad_data,
    mad_gpus,
    mad_image,
    mad_model,
    mad_run,
)

__all__ = [
    "mad_artifacts",
    "mad_context",
    "mad_credentials",
    "mad_data",
    "mad_gpus",
    "mad_image",
    "mad_model",
    "mad_run",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Registers the options of the group ``mad`` and their ini twins."""
    options.add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Registers the ``pytest_mad_*`` hooks."""
    pluginmanager.add_hookspecs(hookspec)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """``--mad-list-tags``: prints and stops."""
    if not options.raw_flag(config, "list-tags"):
        return None
    from pytest_madengine.plugin.activation import print_tags

    return print_tags(config)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Registers the working plugins, if a ``--mad-*`` option, ini ``mad`` or a models.json asks for them."""
    if _is_active(config):
        from pytest_madengine.plugin.activation import activate
        from pytest_madengine.plugin.garbage import garbage_collector_paused, set_aside
        from pytest_madengine.plugin.interrupts import heard

        config.add_cleanup(heard(worker=hasattr(config, "workerinput")))
        with garbage_collector_paused():
            activate(config)
            config.add_cleanup(set_aside())


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """``-n auto`` with models: as many workers as can run models at once."""
    if not _is_active(config) or options.raw_flag(config, "plan"):
        return None
    from pytest_madengine.plugin.activation import make_session
    from pytest_madengine.plugin.xdist.workers import auto_workers

    return auto_workers(config, make_session(config))


def _is_active(config: pytest.Config) -> bool:
    return (
        options.is_given(config)
        or options.from_ini(config, "mad")
        or any(map(_names_model_file, config.args))
        or (hasattr(config, "workerinput") and "mad" in config.workerinput)
    )


def _names_model_file(argument: str) -> bool:
    """Asks the catalog only about what may be one of its files: every pytest run comes here."""
    if "models" not in argument:
        return False
    from pytest_madengine.catalog.files import names_model_file

    return names_model_file(argument)
