"""The fields of an entry and a quick look at their types.

Nearly every file is right.  That is found out here, by exact types only, so that pydantic need not be
imported: its import costs more than reading ten thousand entries.  Whatever is not plainly right is for
``schema.validate`` to judge; both agree on what is right (a property test sees to that).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from pytest_madengine.options import LONGEST_LIMIT

#: Names of the GPU count, the first one present wins (contract section 3).
GPU_FIELDS: Final = ("gpus_per_node", "gpu_count", "n_gpus", "num_gpus", "ngpus")

_TEXT: Final = frozenset({str})
_FLAG: Final = frozenset({bool})
_SCALAR: Final = frozenset({str, int, float, bool})
_TEXT_FIELDS: Final = (
    *("name", "dockerfile", "scripts", "args", "training_precision", "owner", "url", "cred", "data"),
    *("dockercontext", "multiple_results", "skip_gpu_arch", "additional_docker_run_options"),
)
#: Types of the value of each field.
_TYPES: Final[Mapping[str, frozenset[type]]] = {
    **dict.fromkeys(_TEXT_FIELDS, _TEXT),
    **dict.fromkeys(GPU_FIELDS, frozenset({int, str})),
    **dict.fromkeys(("is_deprecated", "deprecated", "log_error_pattern_scan"), _FLAG),
    **dict.fromkeys(("env_vars", "distributed", "slurm"), frozenset({dict})),
    **dict.fromkeys(("log_error_patterns", "log_error_benign_patterns"), frozenset({list})),
    "tags": frozenset({list, str}),
    "timeout": frozenset({int}),
}
#: Every field the plugin knows; others are kept and warned about.
KNOWN_FIELDS: Final = frozenset(_TYPES)


def plainly_valid(entries: object) -> bool:
    """True when ``schema.validate`` would accept the entries of a file; false when only it can say."""
    return type(entries) is list and all(map(_plain_entry, entries))


def _plain_entry(entry: object) -> bool:
    if type(entry) is not dict:
        return False
    for name, value in entry.items():
        types = _TYPES.get(name)
        if types is None:
            if not _plain_name(name):
                return False
        elif type(value) not in types or (name in _INNER and not _INNER[name](value)):
            return False
    return True


def _plain_name(name: object) -> bool:
    return type(name) is str and name.isascii()


def _plain_texts(value: Any) -> bool:
    return type(value) is str or _TEXT.issuperset(map(type, value))


def _plain_object(value: Any) -> bool:
    return all(map(_plain_name, value))


def _plain_variables(value: Any) -> bool:
    return _plain_object(value) and _SCALAR.issuperset(map(type, value.values()))


#: What else must be right about a value of the right type.
_INNER: Final[Mapping[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(("tags", "log_error_patterns", "log_error_benign_patterns"), _plain_texts),
    **dict.fromkeys(("distributed", "slurm"), _plain_object),
    "env_vars": _plain_variables,
    "timeout": lambda value: -1 <= value <= LONGEST_LIMIT,
}
