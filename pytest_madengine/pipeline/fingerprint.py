"""The fingerprint of an item: equal for runs whose results may be compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_madengine.pipeline.run import ItemRun
    from pytest_madengine.session.session import MadSession


def fingerprint_of(run: ItemRun) -> str:
    """The fingerprint of an item (what goes in: ``results.fingerprint``)."""
    from pytest_madengine.catalog.ids import full_args
    from pytest_madengine.pipeline.image import given_name
    from pytest_madengine.results.fingerprint import fingerprint

    session, selected, match = run.session, run.spec.selected, run.spec.dockerfile
    model = selected.model
    return fingerprint(
        model=model.name,
        args=full_args(selected),
        parameters=selected.parameters,
        scripts_hash=_hash(session, scripts_of(run)),
        dockerfile_hash=_hash(session, match.path) if match is not None else "",
        build_args=session.context.get("docker_build_arg", {}),
        n_gpus=model.n_gpus,
        gpu_architecture=session.context.facts.gpu_architecture,
        training_precision=model.training_precision,
        data=model.data,
        image=given_name(run),
    )


def scripts_of(run: ItemRun) -> Path:
    """The script of an item, or the directory that is its own."""
    root = run.session.settings.root
    script = root / run.spec.selected.model.scripts
    # A script that lies directly in scripts/ shares that directory with everything else.
    shared = script.parent.name == "scripts" and script.parent.parent == root
    return script if script.is_dir() or shared else script.parent


def _hash(session: MadSession, path: Path) -> str:
    """Content hash of a path, read once per session; empty when it cannot be read."""
    from pytest_madengine.results.fingerprint import content_hash

    if path not in session.content_hashes:
        try:
            session.content_hashes[path] = content_hash(path)
        except OSError:
            session.content_hashes[path] = ""
    return session.content_hashes[path]
