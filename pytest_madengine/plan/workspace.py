"""What of the MAD root a run sees and what is collected afterwards (contract 10.1)."""

from __future__ import annotations

import glob
import posixpath
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from pytest_madengine.plan.names import flat_name
from pytest_madengine.plan.request import PlanRequest
from pytest_madengine.plan.runplan import Mount, Workspace
from pytest_madengine.plan.steps import WORKSPACE
from pytest_madengine.plan.tools import SelectedTools
from pytest_madengine.secrets import Secret, reveal

#: Files the plugin writes beside perf.csv (contract 12.5), and never shows to a run.
SIDE_FILES: Final = (
    "perf_entry.json",
    "perf_entry.csv",
    "common_info.json",
    "perf_super.json",
    "perf_super.csv",
    "perf_entry_super.json",
    "perf_entry_super.csv",
    "perf.html",
)
#: Collected after every run; the names of this very item come first.
_COLLECT: Final = (
    "*_env.csv",
    "*_output",
    "*_output.csv",
    "library_trace.csv",
    "*_trace.csv",
    "perf_*.csv",
    "results*",
)


def build_workspace(
    request: PlanRequest, tools: SelectedTools, directory: str, mounts: Iterable[Mount]
) -> Workspace:
    """The workspace of a run.

    :param directory: name of the model directory.
    :param mounts: mounts of the run; one that takes the place of an entry of the root hides it.
    """
    settings, model = request.settings, request.model
    environment = f"{flat_name(model.name)}_env"
    hidden = {
        "credential.json",
        directory,
        f"{environment}.csv",
        f".{environment}",
        *_top_names(model.multiple_results),
        *(name for tool in tools.tools for output in tool.outputs for name in _top_names(output)),
        *_own_outputs(request),
        *(mount.target[len(WORKSPACE) + 1 :] for mount in mounts if _is_top_level(mount.target)),
    }
    collect = (
        *([glob.escape(model.multiple_results)] if model.multiple_results else []),
        glob.escape(f".{environment}"),
        *_COLLECT,
        *settings.collect,
    )
    return Workspace(
        root=str(settings.root),
        hidden=tuple(sorted(hidden)),
        collect=tuple(dict.fromkeys(collect)),
        model_dir_name=directory,
        keep_model_dir=settings.keep_model_dir,
        entries=tuple(sorted(name for name in request.root_entries if name not in hidden)),
    )


def concealed_files(request: PlanRequest) -> tuple[str, ...]:
    """Files with secrets below the MAD root, relative to it: a run must not see them."""
    root = str(request.settings.root)
    paths = [] if request.settings.credentials is None else [str(request.settings.credentials)]
    for credential in request.credentials.values():
        key = credential.get("ssh_key_file") if isinstance(credential, Mapping) else None
        if isinstance(key, (str, Secret)) and reveal(key) and not reveal(key).startswith("~"):
            paths.append(posixpath.join(root, reveal(key)))
    inside = [posixpath.relpath(path, root) for path in map(posixpath.normpath, paths)]
    return tuple(dict.fromkeys(name for name in inside if name != "." and not name.startswith("../")))


def _top_names(path: str) -> tuple[str, ...]:
    """First component of a relative path; ``scripts`` holds the programs and is never hidden."""
    parts = [part for part in Path(path).parts if part != "."]
    return () if not parts or parts[0] in {"/", "..", "scripts"} else (parts[0],)


def _own_outputs(request: PlanRequest) -> set[str]:
    settings = request.settings
    # The default directory too: results of earlier sessions are nothing for a run.
    outputs = [settings.results_dir, Path(settings.root) / "mad-results", settings.output]
    outputs += [settings.output.with_name(name) for name in SIDE_FILES]
    secret = {name for name in concealed_files(request) if "/" not in name}
    return secret | {path.name for path in outputs if path.parent == settings.root}


def _is_top_level(target: str) -> bool:
    return target.startswith(f"{WORKSPACE}/") and "/" not in target[len(WORKSPACE) + 1 :]
