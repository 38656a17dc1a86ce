"""pytest-madengine: AI-model benchmarks of MAD repositories as pytest items.

The names below are the public face: hooks, conftest files and notebooks import them from here, and nothing
from the rooms of the package.  Each is imported when it is asked for: every pytest run loads this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pytest_madengine.catalog.model import Model as Model
    from pytest_madengine.context.types import Context as Context
    from pytest_madengine.data.provider import Provider as Provider
    from pytest_madengine.data.provider import Unusable as Unusable
    from pytest_madengine.data.remote import RemoteProvider as RemoteProvider
    from pytest_madengine.data.store import RemoteFile as RemoteFile
    from pytest_madengine.data.store import Store as Store
    from pytest_madengine.errors import ConfigError as ConfigError
    from pytest_madengine.errors import DataError as DataError
    from pytest_madengine.errors import EngineError as EngineError
    from pytest_madengine.errors import MadError as MadError
    from pytest_madengine.errors import RunError as RunError
    from pytest_madengine.plan.runplan import DataMount as DataMount
    from pytest_madengine.plan.runplan import Image as Image
    from pytest_madengine.plan.runplan import Lease as Lease
    from pytest_madengine.plan.runplan import RunPlan as RunPlan
    from pytest_madengine.results.record import Attempt as Attempt
    from pytest_madengine.results.record import Metric as Metric
    from pytest_madengine.results.record import Outcome as Outcome
    from pytest_madengine.results.record import RunRecord as RunRecord
    from pytest_madengine.results.result import RunResult as RunResult
    from pytest_madengine.results.scanner import LogScanner as LogScanner
    from pytest_madengine.secrets import Secret as Secret

    __version__: str

#: Public name -> module that has it.
_PUBLIC: Final = {
    "Attempt": "results.record",
    "ConfigError": "errors",
    "Context": "context.types",
    "DataError": "errors",
    "DataMount": "plan.runplan",
    "EngineError": "errors",
    "Image": "plan.runplan",
    "Lease": "plan.runplan",
    "LogScanner": "results.scanner",
    "MadError": "errors",
    "Metric": "results.record",
    "Model": "catalog.model",
    "Outcome": "results.record",
    "Provider": "data.provider",
    "RemoteFile": "data.store",
    "RemoteProvider": "data.remote",
    "RunError": "errors",
    "RunPlan": "plan.runplan",
    "RunRecord": "results.record",
    "RunResult": "results.result",
    "Secret": "secrets",
    "Store": "data.store",
    "Unusable": "data.provider",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        from importlib import import_module

        value = getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
        globals()[name] = value  # asked for once
        return value
    # Reading the installed version costs milliseconds that an unrelated pytest run must not pay.
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("pytest-madengine")
        except PackageNotFoundError:  # a source tree on sys.path without an installation
            return "0.0.0"
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
