"""``python -m madengine.distributed_cli``: the commands of ``madengine-cli``.

The name that scripts of madengine know for ``build``, ``run``, ``generate`` and ``export-config``; contract
19.2.  The directory has no ``__init__.py``: beside an installed ``madengine`` it hides nothing.
"""

from __future__ import annotations


def main() -> None:
    """Runs the command line."""
    import sys

    from pytest_madengine.cli.app import make_app

    make_app("madengine-cli", sys.argv[1:])(prog_name="python -m madengine.distributed_cli")


if __name__ == "__main__":
    main()
