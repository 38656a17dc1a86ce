"""Calling the hooks of users: what one of them raises concerns that one alone."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import pytest

from pytest_madengine.util.ends import asked
from pytest_madengine.util.text import one_line


def call_each(
    config: pytest.Config,
    /,
    hook_name: str,
    note: Callable[[BaseException, str], None],
    without: Collection[object] = (),
    **arguments: Any,
) -> None:
    """Calls every implementation of a hook in its order, also after one that raised.

    pluggy ends a call with the first exception.  A sink may raise anything, ``SystemExit`` and the outcomes
    of pytest too: it is noted.

    :param note: takes an error and the name of the plugin that raised it.
    A ``KeyboardInterrupt`` without a signal is the sink's own.

    :param without: plugins that are left out.
    """
    manager = config.pluginmanager
    hook = getattr(config.hook, hook_name)
    plain: list[object] = []
    for implementation in reversed(hook.get_hookimpls()):
        if implementation.wrapper or implementation.hookwrapper:
            continue
        plain.append(implementation.plugin)
        if implementation.plugin in without:
            continue
        values = [arguments[name] for name in implementation.argnames]
        _guarded(lambda: implementation.function(*values), implementation.plugin_name, note)  # noqa: B023
    if len(plain) < len(hook.get_hookimpls()):
        wrappers = manager.subset_hook_caller(hook_name, remove_plugins=plain)
        _guarded(lambda: wrappers(**arguments), "a wrapper", note)


def _guarded(
    call: Callable[[], object],
    name: str,
    note: Callable[[BaseException, str], None],
) -> None:
    try:
        call()
    except BaseException as error:  # a sink may raise anything; noted, unless the user wants to stop
        if isinstance(error, KeyboardInterrupt) and asked():
            raise
        note(error, name)


def described(error: BaseException) -> str:
    """An exception in one line; with its type unless its text is meant to be read alone."""
    text = one_line(str(error))
    if not text:
        return type(error).__name__
    return text if isinstance(error, Exception) else f"{type(error).__name__}: {text}"
