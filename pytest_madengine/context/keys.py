"""The keys of a context: their types, and the one form each value has after reading (contract 7.2).

Conversion to text (``docker_build_arg``, ``docker_env_vars``, ``env_vars``): text stays as it is, numbers and
booleans become their JSON text (``4``, ``0.5``, ``true``); null, lists and objects are errors.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pytest_madengine.context.literal import one_line, type_name
from pytest_madengine.context.ranges import parse_ranges
from pytest_madengine.errors import ContextError
from pytest_madengine.secrets import Secret
from pytest_madengine.util.jsontext import boolean_of

VENDORS: Final = ("AMD", "NVIDIA", "INTEL", "CPU")
GUESTS: Final = ("UBUNTU", "CENTOS", "ROCKY")
#: Aliases of the GPU count, strongest first (contract section 3).
GPU_COUNT_KEYS: Final = ("gpus_per_node", "gpu_count", "n_gpus", "num_gpus", "ngpus")
#: Blank texts of these mean that nothing was given (manifests of the predecessor hold them).
BLANK_IS_ABSENT: Final = frozenset({"gpu_vendor", "guest_os", "host_os", "docker_gpus", "docker_cpus"})
#: null in these is what madengine takes for "not given".
NULL_IS_ABSENT: Final = frozenset({"timeout_multiplier", "log_error_pattern_scan"})

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
#: References to secrets in a manifest (contract 9.2).
_REFERENCES: Final = ("from_env", "from_credential")


@dataclass
class Check:
    """The checks of one source; errors and warnings name it."""

    source: str
    #: References to secrets are allowed as values (a manifest).
    references: bool = False
    warnings: list[str] = field(default_factory=list)

    def error(self, key: str, text: str) -> ContextError:
        """The error of one key."""
        return ContextError(one_line(f"{self.source}: {key} {text}"))

    def warn(self, key: str, text: str) -> None:
        """Notes a warning of one key."""
        self.warnings.append(one_line(f"{self.source}: {key} {text}"))


Checker = Callable[[Check, str, Any], Any]


def check_keys(values: Mapping[str, Any], check: Check) -> dict[str, Any]:
    """The values of one source, checked and in their normal form.

    :raises ContextError: a known key has a value of the wrong type; the text names source and key.
    """
    result: dict[str, Any] = {}
    for key, value in values.items():
        absent = isinstance(value, str) and not value.strip() and key in BLANK_IS_ABSENT
        nothing = value is None and (check.references or key in NULL_IS_ABSENT)
        if absent or nothing:
            continue
        checker = KNOWN.get(key)
        if checker is None:
            if not key.startswith("_"):  # else a comment
                check.warn(key, _unknown(key, value))
            result[key] = value
        else:
            result[key] = checker(check, key, value)
    return result


def is_variable_name(name: str) -> bool:
    """True for names a shell accepts: letters, digits and ``_``, not starting with a digit."""
    return _NAME.fullmatch(name) is not None


def to_text(value: Any) -> str | Secret | None:
    """The text of a variable's value by the rule of this module; ``None`` when there is none."""
    if isinstance(value, (str, Secret)):
        return value
    return json.dumps(value) if isinstance(value, (bool, int, float)) else None


def normal_vendor(text: str) -> str:
    """The vendor in capitals; empty when it is none of :data:`VENDORS`."""
    vendor = text.strip().upper()
    return vendor if vendor in VENDORS else ""


def variables(check: Check, key: str, value: Any) -> dict[str, Any]:
    """Checks an object of variables; values become text, secrets and references stay."""
    result: dict[str, Any] = {}
    for name, entry in _object(check, key, value).items():
        if not is_variable_name(name):
            raise check.error(f"{key}: {name!r}", "is not a valid variable name (letters, digits and _)")
        if _is_reference(entry) and check.references:
            result[name] = entry
            continue
        text = to_text(entry)
        if text is None:
            raise check.error(
                f"{key}.{name}", f"must be text, a number or true/false, not {type_name(entry)}"
            )
        if isinstance(text, str) and "\0" in text:
            raise check.error(f"{key}.{name}", "contains a NUL character")
        result[name] = text
    return result


def _is_reference(value: Any) -> bool:
    if not isinstance(value, Mapping) or len(value) != 1:
        return False
    ((kind, name),) = value.items()
    return kind in _REFERENCES and isinstance(name, str)


def _unknown(key: str, value: Any) -> str:
    close = difflib.get_close_matches(key.lower(), _LOWER, n=1, cutoff=0.7)
    if close:
        return f"is unknown: did you mean {_LOWER[close[0]]}?"
    if isinstance(value, (str, bool, int, float)):
        return "is unknown: it is only compared with the CONTEXT lines of Dockerfiles"
    return "is unknown and has no effect"


def _any(_check: Check, _key: str, value: Any) -> Any:
    return value


def _text(check: Check, key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise check.error(key, f"must be text, not {type_name(value)}")
    return value


def _object(check: Check, key: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise check.error(key, f"must be an object, not {type_name(value)}")
    return value


def _list(check: Check, key: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise check.error(key, f"must be a list, not {type_name(value)}")
    return value


def _vendor(check: Check, key: str, value: Any) -> str:
    text = _text(check, key, value)
    vendor = normal_vendor(text)
    if not vendor:
        raise check.error(key, f"{text!r} is not one of {', '.join(VENDORS)}")
    return vendor


def _guest(check: Check, key: str, value: Any) -> str:
    guest = _text(check, key, value).strip().upper()
    if guest not in GUESTS:
        check.warn(key, f"{guest!r} is not one of {', '.join(GUESTS)}")
    return guest


def _ranges(check: Check, key: str, value: Any) -> str:
    text = _text(check, key, value)
    try:
        parse_ranges(text)
    except ValueError as error:
        raise check.error(key, str(error)) from None
    return text


def _boolean(check: Check, key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise check.error(key, f"must be true or false, not {type_name(value)}")
    return value


def _boolean_or_text(check: Check, key: str, value: Any) -> bool:
    parsed = value if isinstance(value, bool) else None
    if isinstance(value, str):
        parsed = boolean_of(value)
    if parsed is None:
        shown = repr(value) if isinstance(value, str) else type_name(value)
        raise check.error(key, f"must be true or false (or yes/no, on/off, 1/0 as text), not {shown}")
    return parsed


def _count(check: Check, key: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise check.error(key, f"must be a whole number, not {type_name(value)}")
    if value < -1:
        raise check.error(key, f"must be -1 (all GPUs), 0 or more, not {value}")
    return value


def _multiplier(check: Check, key: str, value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise check.error(key, f"must be a number, not {type_name(value)}")
    if value <= 0:
        raise check.error(key, f"must be greater than 0, not {value}")
    return value


def _minors(check: Check, key: str, value: Any) -> list[int]:
    for position, entry in enumerate(_list(check, key, value)):
        if isinstance(entry, bool) or not isinstance(entry, int) or entry < 0:
            raise check.error(f"{key}[{position}]", "must be a renderD number such as 128")
    return list(value)


def _texts(check: Check, key: str, value: Any) -> list[str]:
    return [
        _text(check, f"{key}[{position}]", entry) for position, entry in enumerate(_list(check, key, value))
    ]


def _mounts(check: Check, key: str, value: Any) -> dict[str, str]:
    return {path: _text(check, f"{key}.{path}", host) for path, host in _object(check, key, value).items()}


def _scripts(check: Check, key: str, value: Any) -> list[dict[str, Any]]:
    result = []
    for position, entry in enumerate(_list(check, key, value)):
        place = f"{key}[{position}]"
        script = dict(_object(check, place, entry))
        if not _text(check, f"{place}.path", script.get("path")):
            raise check.error(f"{place}.path", "is empty")
        if "args" in script:
            args = to_text(script["args"])
            if args is None:
                raise check.error(f"{place}.args", f"must be text, not {type_name(script['args'])}")
            script["args"] = args
        result.append(script)
    return result


def _tools(check: Check, key: str, value: Any) -> list[dict[str, Any]]:
    result = []
    for position, entry in enumerate(_list(check, key, value)):
        place = f"{key}[{position}]"
        tool = dict(_object(check, place, entry))
        if not _text(check, f"{place}.name", tool.get("name")):
            raise check.error(f"{place}.name", "is empty")
        if "cmd" in tool:
            _text(check, f"{place}.cmd", tool["cmd"])
        if "env_vars" in tool:
            tool["env_vars"] = variables(check, f"{place}.env_vars", tool["env_vars"])
        result.append(tool)
    return result


def _rocenv_mode(check: Check, key: str, value: Any) -> str:
    mode = _text(check, key, value).strip().lower()
    if mode not in ("lite", "full"):
        check.warn(key, f"{mode!r} is not one of lite, full: using lite")
        return "lite"
    return mode


#: Every key of contract 7.2 with its check.
KNOWN: Final[Mapping[str, Checker]] = {
    "gpu_vendor": _vendor,
    "guest_os": _guest,
    **dict.fromkeys(("host_os", "ctx_test", "encapsulate_script", "model_args"), _text),
    **dict.fromkeys(("MAD_CONTAINER_IMAGE", "SHM_SIZE", "MAD_ROCM_PATH"), _text),
    **dict.fromkeys(("docker_build_arg", "docker_env_vars", "env_vars"), variables),
    "docker_mounts": _mounts,
    **dict.fromkeys(("docker_gpus", "docker_cpus"), _ranges),
    "gpu_renderDs": _minors,
    **dict.fromkeys(("pre_scripts", "post_scripts"), _scripts),
    "tools": _tools,
    **dict.fromkeys(("data", "multi_node_args", "distributed", "slurm", "k8s", "kubernetes"), _object),
    **dict.fromkeys(("vllm", "shared_data", "debug", "deploy", "monitor"), _any),
    **dict.fromkeys(("cleanup_on_failure", "skip_perf_collection"), _any),
    **dict.fromkeys(GPU_COUNT_KEYS, _count),
    "rocenv_mode": _rocenv_mode,
    **dict.fromkeys(("gen_sys_env_details", "generate_sys_env_details"), _boolean_or_text),
    "timeout_multiplier": _multiplier,
    "log_error_pattern_scan": _boolean_or_text,
    **dict.fromkeys(("log_error_patterns", "log_error_benign_patterns"), _texts),
    # Detected, but a user may give it as well.
    "numa_balancing": _any,
}
_LOWER: Final = {key.lower(): key for key in KNOWN}
