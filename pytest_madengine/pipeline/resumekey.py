"""The key of ``--mad-resume``: equal while everything that reaches a run is as it was.

It is a hash of the plan itself, and of the contents of what the plan mounts and what its image is built from.
Whatever cannot be told has no key, and is run again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_madengine.secrets import Secret

if TYPE_CHECKING:
    from pytest_madengine.pipeline.run import ItemRun
    from pytest_madengine.plan.runplan import RunPlan
    from pytest_madengine.settings import Settings

#: Changes whenever the formula does.
_FORMULA: Final = 1
#: Bytes; of a larger file size and times count, not the content.
_LARGE: Final = 64 << 20
#: What a plan has anew in every session.
_FRESH: Final = frozenset({"run_id", "container_name", "labels"})
#: Directories that are no content.
_IGNORED: Final = frozenset({"__pycache__", ".git", ".pytest_cache", "mad-results"})
#: What of the workspace is not part of a run: names at the top of the root, our own outputs among them.  What
#: of the root a run uses counts by its content.
_NAMES: Final = frozenset({"entries", "hidden"})


def resume_key(run: ItemRun) -> str:
    """The key of an item that has not begun; empty when its plan cannot be made yet.

    To be asked before anything is built, transferred or resolved: it is the same then in every session.
    """
    from pytest_madengine.errors import MadError

    try:
        facts = _facts(run)
    except (MadError, OSError):
        return ""
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), default=_plain)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _facts(run: ItemRun) -> dict[str, Any]:
    import pytest_madengine
    from pytest_madengine.pipeline.image import given_name, intended_name
    from pytest_madengine.pipeline.plan import plan_for
    from pytest_madengine.pipeline.record import configs_of
    from pytest_madengine.plan.runplan import Image

    session, spec = run.session, run.spec
    probe = dataclasses.replace(
        run,
        image=Image(intended_name(run)),
        data=session.data.plan(spec.selected.model) if spec.selected.model.data.strip() else (),
        warnings=[],
    )
    probe.lease = _lease(probe)
    return {
        "formula": _FORMULA,
        "version": pytest_madengine.__version__,
        "plan": _plan(plan_for(probe)),
        "entry": spec.selected.model.raw,
        "configs": configs_of(probe),
        "credential": _credential_names(run),
        "image": given_name(run),
        "block": spec.block,
        "judging": [session.settings.strict_log, session.settings.environ.get("MAD_COLLECT_METRICS", "")],
        "build": _build(run),
        "contents": {str(path): _content(run, path) for path in _mounted(run)},
        "data": [_local_data(mount.source) for mount in probe.data if mount.provider in ("local", "custom")],
    }


def _lease(run: ItemRun) -> Any:
    from pytest_madengine.plan.runplan import Lease
    from pytest_madengine.scheduling.pool import demand_of

    session = run.session
    demand = demand_of(session.context, run.spec.selected.model, session.settings)
    if not session.leases.needs_lease(demand):
        return Lease()
    return session.leases.acquire(demand, plan_only=True).lease


def _plan(plan: RunPlan) -> dict[str, Any]:
    facts = {one.name: getattr(plan, one.name) for one in dataclasses.fields(plan) if one.name not in _FRESH}
    workspace = plan.workspace
    facts["workspace"] = {
        one.name: getattr(workspace, one.name)
        for one in dataclasses.fields(workspace)
        if one.name not in _NAMES
    }
    return facts


def _credential_names(run: ItemRun) -> list[str]:
    credential = run.credentials.get(run.spec.selected.model.cred)
    return sorted(credential) if isinstance(credential, Mapping) else []


def _build(run: ItemRun) -> Any:
    """What the image is built from: Dockerfile, arguments, and the files it may copy."""
    from pytest_madengine.images.request import build_key
    from pytest_madengine.pipeline.image import build_request, given_name

    if run.spec.block is not None or given_name(run) or run.spec.dockerfile is None:
        return None
    request = build_request(run)
    places = [request.context_dir, *filter(None, [request.tools_context])]
    return [build_key(request), [_content(run, place) for place in places]]


def _mounted(run: ItemRun) -> Iterator[Path]:
    """What a run sees of the repository and is its own: scripts, common scripts, tools, code of conftests."""
    from pytest_madengine.pipeline.fingerprint import scripts_of

    settings = run.session.settings
    root = settings.root
    yield scripts_of(run)
    yield root / "scripts/common"
    yield from filter(None, [settings.tools_config])
    for directory in dict.fromkeys((root, (root / run.spec.selected.model.source).parent)):
        yield directory / "conftest.py"


def _content(run: ItemRun, path: Path) -> str:
    """Hash of a file or of a directory's files with their names, read once per session."""
    known = run.session.content_hashes
    own = _outputs(run.session.settings)
    key = Path("resume:", *path.parts)  # beside those of fingerprints, which are other hashes
    if key not in known:
        digest = hashlib.sha256()
        for name, text in sorted(contents(path, own)):
            digest.update(f"{name}\0{text}\0".encode("utf-8", "surrogateescape"))
        known[key] = digest.hexdigest()
    return known[key]


def _outputs(settings: Settings) -> frozenset[Path]:
    """Files and directories that sessions with these settings write, wherever they are."""
    from pytest_madengine.session.outputs import places

    return frozenset(path for _, path in places(settings))


def contents(path: Path, own: frozenset[Path]) -> Iterator[tuple[str, str]]:
    """Names and contents of a file or a tree, without what sessions write.

    :param own: outputs of this session.
    """
    if path.is_file():
        yield "", _file(path)
        return
    for parent, directories, files in os.walk(path):
        here = Path(parent)
        ours = _results_among(here, files)
        kept = (name for name in directories if name not in _IGNORED)
        directories[:] = [name for name in kept if not _is_own(here / name, own)]
        for name in (*files, *directories):
            entry = here / name
            if entry in own or name in ours:
                continue
            if entry.is_symlink():
                yield entry.relative_to(path).as_posix(), f"link {entry.readlink()}"
            elif entry.is_file():
                yield entry.relative_to(path).as_posix(), _file(entry)


def _is_own(directory: Path, own: frozenset[Path]) -> bool:
    """An output of a session with these settings, or the results directory of one with others."""
    return directory in own or next(directory.glob("*/journal.jsonl"), None) is not None


def _results_among(directory: Path, names: Iterable[str]) -> frozenset[str]:
    """Tables of results, whatever they are called, and what is written beside them."""
    from pytest_madengine.plan.workspace import SIDE_FILES
    from pytest_madengine.results.columns import V2_COLUMNS

    header = ",".join(V2_COLUMNS).encode()
    tables = []
    for name in names:
        path = directory / name
        if name.endswith(".csv") and path.is_file():
            with path.open("rb") as stream:
                if stream.read(len(header)) == header:
                    tables.append(name)
    pages = [f"{name.removesuffix('.csv')}.html" for name in tables]
    return frozenset([*tables, *pages, *SIDE_FILES] if tables else ())


def _file(path: Path) -> str:
    state = path.stat()
    mode = "x" if state.st_mode & 0o111 else "-"
    if state.st_size > _LARGE:
        return f"{mode} {state.st_size} {state.st_mtime_ns} {state.st_ctime_ns}"
    return f"{mode} {hashlib.sha256(path.read_bytes()).hexdigest()}"


def _local_data(source: str) -> list[str]:
    """Names, sizes and times of the files of data that lies on this host: it may have any size."""
    if not source:
        return []
    found = []
    for parent, directories, files in os.walk(source):
        directories.sort()
        for name in sorted(files):
            path = Path(parent, name)
            state = path.lstat()
            found.append(f"{path} {state.st_size} {state.st_mtime_ns} {state.st_ctime_ns}")
    if not found and os.path.lexists(source):
        state = Path(source).stat()
        found.append(f"{source} {state.st_size} {state.st_mtime_ns} {state.st_ctime_ns}")
    return found


def _plain(value: object) -> object:
    """JSON of what a plan is made of; of a secret only that there is one."""
    if isinstance(value, Secret):
        return "secret"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    return str(value)
