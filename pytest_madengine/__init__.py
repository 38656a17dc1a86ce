"""pytest-madengine: AI-model benchmarks of MAD repositories as pytest items."""

from __future__ import annotations


def __getattr__(name: str) -> str:
    # Reading the installed version costs milliseconds that an unrelated pytest run must not pay.
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("pytest-madengine")
        except PackageNotFoundError:  # a source tree on sys.path without an installation
            return "0.0.0"
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
