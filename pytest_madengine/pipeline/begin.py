"""The first step of an item: whether it runs at all, and what must be known before anything is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_madengine.errors import CredentialError, RunError

if TYPE_CHECKING:
    from pytest_madengine.pipeline.run import ItemRun


def skip_reason(run: ItemRun) -> str:
    """Why the item does not run; empty when it runs.

    :raises MadError: the test hook ``--exception`` of the predecessor.
    """
    from pytest_madengine.pipeline.pull import incompatibility
    from pytest_madengine.plan.placement import check_model
    from pytest_madengine.plan.skips import missing_gpus, skip_reason

    session, model = run.session, run.spec.selected.model
    if session.manifest is not None and run.spec.error is not None:
        return ""  # what is wrong with a manifest is told on every host
    reason = skip_reason(model, session.context, session.settings)
    if reason:
        run.lacks_hardware = reason == missing_gpus(model, session.context, session.settings)
    else:
        reason = incompatibility(run)
        run.lacks_hardware = bool(reason)
    reason = reason or _resumed(run)
    if not reason and not session.settings.build_only:
        check_model(model, session.context, session.settings.environ)
    if not reason and model.args.strip() == "--exception":
        raise RunError("Exception test!")
    return reason


def _resumed(run: ItemRun) -> str:
    earlier = run.session.resumable.get(run.spec.name)
    if earlier is None or not earlier.resume_key.startswith(_noted_key(run) or " "):
        return ""
    if earlier.resume_key != run.key_in(_image_here(run)):
        return ""
    run.resumed_from = earlier.run_id
    return f"SUCCESS in session {earlier.run_id} (--mad-resume)"


def _image_here(run: ItemRun) -> str:
    """The image that a name means on this host; one that is not here is another one."""
    from pytest_madengine.pipeline.image import known_by_name

    name = known_by_name(run)
    return run.session.builder.local_id(name) or "absent" if name else ""


def _noted_key(run: ItemRun) -> str:
    """The resume key, asked for before anything is done."""
    from pytest_madengine.pipeline.resumekey import resume_key

    if run.resume_key is None:
        run.resume_key = resume_key(run)
    return run.resume_key


def check_credential(run: ItemRun) -> None:
    """The credential of the model is there and has values, and so has every reference of a manifest.

    :raises CredentialError: it is not.
    """
    from pytest_madengine.credentials import credential_of
    from pytest_madengine.pipeline.references import resolved_spec

    if not run.session.plan_only:
        _noted_key(run)
    run.spec = resolved_spec(run.session, run.spec, run.credentials)
    model = run.spec.selected.model
    if model.cred:
        run.phase = CredentialError.phase
        credential_of(run.credentials, model.cred, model.owner)
