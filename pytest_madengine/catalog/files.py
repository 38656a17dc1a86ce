"""Names of the files that hold model entries."""

from __future__ import annotations

#: File names that hold model entries.
MODEL_FILES = frozenset({"models.json", "get_models_json.py"})


def names_model_file(argument: str) -> bool:
    """True when a command line argument names a file of model entries, with or without ``::NAME``."""
    return argument.partition("::")[0].rpartition("/")[2] in MODEL_FILES
