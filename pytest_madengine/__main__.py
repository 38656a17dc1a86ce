"""``python -m pytest_madengine``: the same commands as ``madengine``."""

from __future__ import annotations


def main() -> None:
    """Runs the command line."""
    import sys

    from pytest_madengine.cli.app import make_app

    make_app("madengine", sys.argv[1:])(prog_name="python -m pytest_madengine")


if __name__ == "__main__":
    main()
