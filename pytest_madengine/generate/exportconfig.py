"""``export-config``: the selection and its context as JSON, without secrets (contract 9.3)."""

from __future__ import annotations

from typing import Any, Final

from pytest_madengine.settings import Settings

#: Context keys of the file, with what they hold when nothing was given or found.
CONTEXT_KEYS: Final = {"docker_env_vars": {}, "docker_mounts": {}, "gpu_vendor": "", "docker_gpus": ""}


def export(settings: Settings) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The JSON value of the file, and warnings.

    :raises MadError: a selector, the context or a file of the repository is wrong.
    """
    from pytest_madengine.catalog.ids import selected_entry
    from pytest_madengine.catalog.service import select_models
    from pytest_madengine.manifest.references import References
    from pytest_madengine.session.session import MadSession

    chosen = select_models(
        settings.root, settings.tags, no_dynamic=settings.no_dynamic, environ=settings.environ
    )
    session = MadSession(settings, chosen.items)
    references = References(settings.environ, session.credentials, session.redactor)
    context = session.context
    entries = [selected_entry(item) for item in chosen.items]
    content = {
        "models": references.replace(entries),
        "context": references.replace(
            {key: context.get(key) or empty for key, empty in CONTEXT_KEYS.items()}
        ),
        "credentials_required": sorted({item.model.cred for item in chosen.items} - {""}),
    }
    warnings = [warned.message for warned in (*chosen.warnings, *session.warnings)]
    return content, tuple(dict.fromkeys([*warnings, *context.warnings, *references.notes]))
