"""Items of a build manifest: what is selected from them (contract 9.2, 9.3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_madengine.catalog.ids import bases_of, item_name, parameters_text
from pytest_madengine.catalog.model import Model, Parameter, Selected
from pytest_madengine.errors import BuildError, ConfigError, MadError, SelectorError, Warned
from pytest_madengine.manifest.references import revealed
from pytest_madengine.secrets import MASK, Redactor

if TYPE_CHECKING:
    from pytest_madengine.context.types import HostFacts
    from pytest_madengine.manifest.reader import FailedBuild, ImageBlock, Manifest, ManifestEntry


#: Objects of the context in which references are resolved by those who use them.
_VARIABLES = ("docker_env_vars", "docker_build_arg", "env_vars")


@dataclass(frozen=True)
class Chosen:
    """One item of a manifest: the model to run, and its image or why there is none."""

    selected: Selected
    #: Key in ``built_images``; empty for a failed build.
    key: str = ""
    image: ImageBlock | None = None
    error: MadError | None = None
    #: Dockerfile base and architecture: parts of the name where several entries would share it.
    base: str = ""
    arch: str = ""


# ---- build manifest -----------------------------------------------------------------------------------


def choose(
    manifest: Manifest, tags: Sequence[str], root: Path
) -> tuple[tuple[Chosen, ...], tuple[Warned, ...]]:
    """The items of a manifest, in its order; with selectors, those they pick, in their order.

    Parameters of a selector pick the entry that was built with them; where there is none they are added
    to the entry that was built without any.

    :raises SelectorError: a selector is malformed or picks nothing; the manifest has no items.
    """
    everything = _everything(manifest, root)
    if not everything:
        raise SelectorError(f"manifest {manifest.path} has no models", hint="build it again")
    if not tags:
        check_blocks(manifest, everything)
        return everything, ()
    from pytest_madengine.catalog.selectors import ModelIndex, parse_selectors, resolve

    models = {chosen.selected.model.name: chosen.selected.model for chosen in everything}
    resolution = resolve(parse_selectors(tags), ModelIndex(models.values()))
    found: dict[tuple[object, ...], Chosen] = {}
    for selected in resolution.items:
        for chosen in _picked(selected, everything):
            identity = (id(chosen.image), chosen.selected.model.name, chosen.selected.params_id)
            found.setdefault(identity, chosen)
    check_blocks(manifest, found.values())
    return tuple(found.values()), resolution.warnings


def _picked(wanted: Selected, everything: Iterable[Chosen]) -> list[Chosen]:
    entries = [chosen for chosen in everything if chosen.selected.model.name == wanted.model.name]
    if not wanted.parameters:
        return entries
    text = parameters_text(wanted.parameters)
    exact = [chosen for chosen in entries if parameters_text(chosen.selected.parameters) == text]
    if exact:
        return exact
    plain = [chosen for chosen in entries if not chosen.selected.parameters]
    if not plain:
        built = ", ".join(item_name(chosen.selected) for chosen in entries)
        raise SelectorError(
            f"No models found corresponding to the given tag: {wanted.model.name}:"
            f"{wanted.params_id} (the manifest has {built})"
        )
    return [replace(chosen, selected=Selected(chosen.selected.model, wanted.parameters)) for chosen in plain]


def _everything(manifest: Manifest, root: Path) -> tuple[Chosen, ...]:
    items = [_chosen(entry, manifest, root) for entry in manifest.entries]
    items += [_failed(failed, manifest, root) for failed in manifest.failed]
    files: dict[str, set[str]] = {}
    for chosen in items:
        files.setdefault(chosen.selected.model.name, set()).add(chosen.base)
    known = {model: bases_of(names) for model, names in files.items()}
    items = [replace(c, base=known[c.selected.model.name][c.base]) for c in items]
    bases: dict[tuple[str, str], set[str]] = {}
    for chosen in items:
        bases.setdefault(_who(chosen), set()).add(chosen.base)
    count = Counter((_who(chosen), chosen.base) for chosen in items)
    return tuple(
        replace(
            chosen,
            base=chosen.base if len(bases[_who(chosen)]) > 1 else "",
            arch=chosen.arch if count[_who(chosen), chosen.base] > 1 else "",
        )
        for chosen in items
    )


def _who(chosen: Chosen) -> tuple[str, str]:
    return chosen.selected.model.name, chosen.selected.params_id


def _chosen(entry: ManifestEntry, manifest: Manifest, root: Path) -> Chosen:
    image = entry.image
    error: MadError | None = None
    if not entry.model:
        selected = Selected(_nameless(image.model or image.key, manifest, root))
        error = ConfigError(f"manifest {manifest.path}: image {image.key} has no model in built_models")
    else:
        try:
            selected = select_entry(entry.model, entry.parameters, manifest.path, root)
        except MadError as problem:
            name = str(entry.model.get("name") or image.model or image.key)
            selected, error = Selected(_nameless(name, manifest, root)), problem
    return Chosen(selected, image.key, image, error, _file_name(image.dockerfile), image.gpu_architecture)


def _failed(failed: FailedBuild, manifest: Manifest, root: Path) -> Chosen:
    entry = dict(failed.entry)
    parameters = entry.pop("madengine_params", None) or {}
    try:
        selected = select_entry(entry, parameters, manifest.path, root)
    except MadError:
        selected = Selected(_nameless(failed.model, manifest, root))
    error = BuildError(
        f"the image was not built: {failed.error or 'the manifest does not say why'}",
        hint=f"build it again; {manifest.path} lists it under failed_builds",
    )
    return Chosen(selected, error=error, base=_file_name(failed.dockerfile))


def _file_name(dockerfile: str) -> str:
    return dockerfile.rpartition("/")[2]


def _nameless(name: str, manifest: Manifest, root: Path) -> Model:
    return Model(name=name, dockerfile="", scripts="", source=source_of(name, manifest.path, root))


def select_entry(entry: Mapping[str, Any], parameters: Mapping[str, Any], path: Path, root: Path) -> Selected:
    """The model of a ``built_models`` entry, with the parameters it was built with.

    References to secrets are masked; :func:`resolved_model` gives the model that runs.

    :raises CatalogError: the entry is not valid.
    """
    from pytest_madengine.catalog.entries import model_from_manifest

    source = source_of(str(entry.get("name", "")), path, root)
    model = model_from_manifest(_masked(entry), source)
    built_with = tuple(
        Parameter(name, value if value is None else str(value)) for name, value in parameters.items()
    )
    text = parameters_text(built_with)
    if text and model.args.endswith(text):
        return Selected(replace(model, args=model.args.removesuffix(text)), built_with)
    # Older files write parameters in other ways: args stay as they are.
    return Selected(model)


def _masked(value: Any) -> Any:
    from pytest_madengine.manifest.references import reference_of

    if reference_of(value) is not None:
        return MASK
    if isinstance(value, Mapping):
        return {key: _masked(part) for key, part in value.items()}
    return [_masked(part) for part in value] if isinstance(value, list) else value


def source_of(name: str, path: Path, root: Path) -> str:
    """The file under which an item of a manifest is collected, so that its node id stays the same.

    The file of the repository that declares models of that directory, else the manifest itself; relative
    to the root where possible.
    """
    scope = name.rpartition("/")[0]
    candidates = (
        [f"scripts/{scope}/models.json", f"scripts/{scope}/get_models_json.py"] if scope else ["models.json"]
    )
    for candidate in candidates:
        if (root / candidate).is_file():
            return candidate
    try:
        return path.resolve().relative_to(root).as_posix()
    except ValueError:
        return str(path.resolve())


def context_of(
    manifest: Manifest,
    facts: HostFacts,
    environ: Mapping[str, str],
    credentials: Callable[[], Mapping[str, Any]],
    redactor: Redactor,
) -> Mapping[str, Any]:
    """The context of a manifest as this host may use it.

    A vendor that is not that of the GPUs here is left out: images for it are skipped, others run.

    :param credentials: asked for only when there are references.
    :param redactor: gets the secrets that were found.
    :raises CredentialError: a reference outside of the variables cannot be resolved here.
    """
    from pytest_madengine.manifest.references import has_references, resolve
    from pytest_madengine.secrets import secrets_in

    context = dict(manifest.context)
    for key, value in context.items():
        if key not in _VARIABLES and has_references(value):
            found = resolve(value, environ, credentials(), f"context: {key}")
            redactor.add(*secrets_in(found))
            context[key] = revealed(found)
    vendor = str(context.get("gpu_vendor") or "").upper()
    if facts.gpus and vendor not in ("", facts.gpu_vendor):
        del context["gpu_vendor"]
    return context


# ---- batch manifest -----------------------------------------------------------------------------------


def check_blocks(manifest: Manifest, items: Iterable[Chosen]) -> None:
    """Refuses images of a manifest that one name stands for, where nothing else says which is which.

    :raises ConfigError: two of them; the message names both.
    """
    first: dict[tuple[str, str, str], ImageBlock] = {}
    for block in (item.image for item in items if item.image is not None):
        if block.given or block.image_id or block.registry_digest or not block.dockerfile:
            continue
        # One image for several parameters of a model is no collision.
        known = first.setdefault((block.docker_image, block.registry, block.registry_image), block)
        if known.dockerfile != block.dockerfile:
            raise ConfigError(
                f"manifest {manifest.path}: built_images[{known.key!r}] ({known.dockerfile}) and "
                f"built_images[{block.key!r}] ({block.dockerfile}) have one docker_image, "
                f"{block.docker_image}, and no image_id: both would run the image built last",
                hint="build them again, under names that differ in more than case",
            )
