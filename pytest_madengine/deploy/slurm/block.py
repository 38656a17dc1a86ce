"""The ``slurm`` block of a run, with its defaults (contract 16.2).  Names of a site are never defaults."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pytest_madengine.deploy.blocks import Block
from pytest_madengine.errors import ConfigError

#: Options of sbatch that are passed on.  Directives know no quoting that one could rely on, so a value has
#: only characters that mean nothing to sbatch beside themselves.
_OPTIONS: Final = {
    "partition": r"[A-Za-z0-9_.,-]+",
    "account": r"[A-Za-z0-9_.@-]+",
    "qos": r"[A-Za-z0-9_.,-]+",
    "constraint": r"[A-Za-z0-9_.&|*()\[\]:,!-]+",
    "exclude": r"[A-Za-z0-9_.,\[\]-]+",
    "nodelist": r"[A-Za-z0-9_.,\[\]-]+",
    "reservation": r"[A-Za-z0-9_.,-]+",
    "mem": r"[0-9]+[KMGT]?",
    "mail_user": r"[A-Za-z0-9_.+@-]+",
    "mail_type": r"[A-Za-z0-9_,]+",
}
_TIME: Final = r"([0-9]+-)?[0-9]{1,6}(:[0-9]{1,2}){0,2}|UNLIMITED|INFINITE"
_PATH: Final = r"[A-Za-z0-9_./+=@,-]+"
_KNOWN: Final = (
    *_OPTIONS,
    *("nodes", "gpus_per_node", "time", "exclusive", "modules", "output_dir", "shared_workspace"),
    *("results_dir", "results_glob", "network_interface", "enable_node_check", "verbose_node_check"),
    *("auto_cleanup_nodes", "allow_submit_without_clean_nodes", "skip_gpus_directive"),
)


@dataclass(frozen=True)
class SlurmBlock:
    """What a job needs beside the plan."""

    #: Name of the sbatch option (with ``-``) -> value.
    options: dict[str, str]
    time: str
    exclusive: bool
    modules: tuple[str, ...]
    output_dir: str
    shared_workspace: str
    results_dir: str
    network_interface: str
    node_check: bool
    verbose_check: bool
    check_may_fail: bool
    #: The job asks for no GPUs: on clusters without GPUs as a resource.
    skip_gpus: bool
    warnings: tuple[str, ...] = ()


def read_slurm_block(values: Mapping[str, Any], nodes: int) -> SlurmBlock:
    """The block of a job on so many nodes.

    :raises ConfigError: a value is wrong, or sbatch could take it for something else.
    """
    block = Block(values, "slurm")
    options = {}
    for key, pattern in _OPTIONS.items():
        value = block.text(key)
        if key == "nodelist":
            value = "".join(value.split())
        if value and (value.startswith("-") or not re.fullmatch(pattern, value, re.ASCII)):
            raise block.error(key, "a value that sbatch takes for itself (no blanks, quotes or line ends)")
        if value:
            options[key.replace("_", "-")] = value
    modules = block.texts("modules")
    for name in modules:
        if name.startswith("-") or not re.fullmatch(_PATH, name, re.ASCII):
            raise ConfigError(f"slurm.modules: {name!r} is no name of a module")
    default_time = "24:00:00" if nodes > 1 else "12:00:00"
    wanted = "a path of letters, digits and _./+=@,-"
    return SlurmBlock(
        options=options,
        time=block.text("time", default_time, _TIME, "a time such as 4:00:00 or 1-12:00:00"),
        exclusive=block.flag("exclusive", True),
        modules=modules,
        output_dir=block.text("output_dir", "./slurm_results", _PATH, wanted).rstrip("/") or "/",
        shared_workspace=block.text("shared_workspace", "", _PATH, wanted),
        results_dir=block.text("results_dir", "", _PATH, wanted).rstrip("/"),
        network_interface=block.text("network_interface", "", r"[A-Za-z0-9_.:,=^-]+", "an interface name"),
        node_check=block.flag("enable_node_check", True) and "nodelist" not in options,
        verbose_check=block.flag("verbose_node_check", False),
        check_may_fail=block.flag("allow_submit_without_clean_nodes", False),
        skip_gpus=block.flag("skip_gpus_directive", False),
        warnings=block.unknown(_KNOWN),
    )
