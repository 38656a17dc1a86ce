"""Plans for another machine: the entries of a manifest as they will run on a target, made without one.

The host that generates files needs neither engine nor GPUs nor credentials: it is never asked for them.  The
GPUs are those the target will give, and secrets are replaced by placeholders that name their source
(:mod:`~pytest_madengine.generate.standins`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_madengine.catalog.ids import item_name
from pytest_madengine.deploy.target import TARGET_DATA, TargetModel
from pytest_madengine.errors import ConfigError, MadError
from pytest_madengine.generate.standins import Stand, stand_ins
from pytest_madengine.generate.targets import Targets
from pytest_madengine.secrets import Secret, is_secret, secrets_in
from pytest_madengine.settings import Settings

if TYPE_CHECKING:
    from pytest_madengine.catalog.model import Model, Selected
    from pytest_madengine.context.types import Context, HostFacts
    from pytest_madengine.manifest.items import Chosen
    from pytest_madengine.manifest.reader import ImageBlock
    from pytest_madengine.plan.request import PlanRequest
    from pytest_madengine.plan.runplan import DataMount, RunPlan

#: Variables of this host that mean the same on the target.
_CARRIED: Final[tuple[str, ...]] = ("MAD_LAUNCHER", "BUILD_NUMBER", "HOME")
#: GPUs of a Slurm node for a model that takes all (contract 16.2).
_SLURM_GPUS: Final = 8
#: Keys of the context that belong to one kind of target.
_BLOCKS: Final = {"kubernetes": ("k8s", "kubernetes"), "slurm": ("slurm",), "ansible": ()}


def read_targets(settings: Settings, kind: str) -> Targets:
    """The plans of all entries of a manifest.

    :param kind: ``kubernetes``, ``slurm`` or ``ansible``.
    :raises ConfigError: the manifest or the context is wrong, or an entry cannot go to the target.
    :raises MadError: an entry cannot be planned.
    """
    from pytest_madengine.session.factory import session_of_files

    session = session_of_files(replace(settings, tags=(), executor=kind), plan_only=True)
    assert session is not None
    assert session.manifest is not None
    targets = Targets(session, session.manifest)
    variables = [value for name, value in settings.environ.items() if is_secret(name, value)]
    targets.redactor.add(*secrets_in(session.credentials), *variables)
    for warned in session.warnings:
        targets.warnings.append(warned.message)
    stand = stand_ins(session.manifest, settings.environ, session.credentials)
    planner = _Planner(targets, stand, kind)
    for chosen in session.chosen:
        model = planner.model_of(chosen)
        if model is not None:
            targets.models.append(model)
    if not targets.models:
        raise ConfigError(
            f"manifest {session.manifest.path} has no model that can run: {'; '.join(targets.warnings)}"
        )
    targets.warnings = list(dict.fromkeys([*targets.warnings, *stand.notes]))
    return targets


class _Planner:
    """Makes the plans of one manifest for one kind of target."""

    def __init__(self, targets: Targets, stand: Stand, kind: str) -> None:
        self._targets, self._stand, self._kind = targets, stand, kind
        self._session, self._manifest = targets.session, targets.manifest
        self._settings = targets.session.settings

    def model_of(self, chosen: Chosen) -> TargetModel | None:
        """The model of an entry; ``None`` with a warning when it would not run."""
        from pytest_madengine.plan.skips import skip_reason

        title = item_name(chosen.selected, ":".join(filter(None, (chosen.base, chosen.arch))))
        if chosen.image is None:
            reason = chosen.error.message if chosen.error is not None else "it has no image"
            self._targets.warnings.append(f"{title} is left out: {reason}")
            return None
        if chosen.error is not None:
            raise chosen.error
        entry = next(one for one in self._manifest.entries if one.image.key == chosen.image.key)
        selected = self._stand.selected(entry, chosen.selected, self._manifest.path, self._settings.root)
        context = self._context(chosen.image, selected.model, 0)
        gpus = self._gpus(selected.model, context, title)
        context = self._context(chosen.image, selected.model, gpus)
        reason = skip_reason(selected.model, context, self._settings)
        if reason:
            self._targets.warnings.append(f"{title} is left out: {reason}")
            return None
        return self._target(chosen.image, selected, context, gpus, title)

    # ---- context ------------------------------------------------------------------------------------

    def _context(self, image: ImageBlock, model: Model, gpus: int) -> Context:
        """The context as it will be on the target; the target's block holds the model's own as well."""
        from pytest_madengine.context.build import build_context

        vendor = self._vendor(image)
        given = self._stand.context(self._manifest)
        if vendor:
            given["gpu_vendor"] = vendor
        tools = self._session.tools
        context = build_context(
            string=self._settings.context,
            file=self._settings.context_file,
            environ=self._stand.environ,
            tools_docker={"build_args": tools.docker_build_args, "environment": tools.docker_environment},
            manifest=given,
            facts=self._facts(vendor, image, gpus),
        )
        for text in context.warnings:
            if text not in self._targets.warnings:
                self._targets.warnings.append(text)
        values = {key: value for key, value in context.values.items() if key not in _other_blocks(self._kind)}
        values = self._with_block(values, model)
        return replace(context, values=values)

    def _with_block(self, values: dict[str, Any], model: Model) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for name in _BLOCKS[self._kind]:
            for source in (model.raw, values):
                block = source.get(name)
                if isinstance(block, Mapping):
                    merged = merged_objects(merged, block)
            values.pop(name, None)
        if merged:
            values[_BLOCKS[self._kind][0]] = merged
        distributed = values.get("distributed")
        own = merged_objects(model.distributed, distributed if isinstance(distributed, Mapping) else {})
        return {**values, "distributed": own} if own else values

    def _vendor(self, image: ImageBlock) -> str:
        from pytest_madengine.context.build import detection_hints

        hints = detection_hints(string=self._settings.context, file=self._settings.context_file)
        given = hints.gpu_vendor or image.gpu_vendor or str(self._manifest.context.get("gpu_vendor") or "")
        return given.strip().upper()

    def _facts(self, vendor: str, image: ImageBlock, gpus: int) -> HostFacts:
        from pytest_madengine.context.types import Gpu, HostFacts

        of_gpus = gpus > 0 and vendor not in ("", "CPU")
        return HostFacts(
            gpu_vendor=vendor if of_gpus else "CPU",
            gpus=tuple(Gpu(index, f"target:{index}", 128 + index) for index in range(gpus))
            if of_gpus
            else (),
            gpu_architecture=image.gpu_architecture if of_gpus else "",
        )

    def _gpus(self, model: Model, context: Context, title: str) -> int:
        from pytest_madengine.plan.gpus import gpu_need

        need = gpu_need(model, context)
        if need >= 0:
            return need
        if self._kind == "kubernetes":
            raise ConfigError(
                f"model {title} takes all GPUs of its host, and a pod must say how many",
                hint='give the number: -c \'{"k8s": {"gpu_count": 8}}\'',
            )
        return _SLURM_GPUS

    # ---- plan ---------------------------------------------------------------------------------------

    def _target(
        self, image: ImageBlock, selected: Selected, context: Context, gpus: int, title: str
    ) -> TargetModel:
        from pytest_madengine.plan.builder import build_plan
        from pytest_madengine.plan.request import HostAbilities, PlanRequest
        from pytest_madengine.plan.runplan import Image, Lease

        model = selected.model
        distributed = context.get("distributed") or {}
        block = context.get(_BLOCKS[self._kind][0]) if _BLOCKS[self._kind] else {}
        nodes = _nodes(block or {}, distributed, title)
        request = PlanRequest(
            selected=selected,
            item_id=title,
            run_id="generated",
            base=image.base,
            image=Image(image.docker_image, image.image_id, image.registry_digest, image.dockerfile),
            context=context,
            settings=self._settings,
            lease=Lease(tuple(range(gpus))),
            data=self._data(model, context),
            credentials=self._stand.credentials,
            tools=self._session.tools,
            root_entries=self._session.root_entries,
            host=HostAbilities(groups=frozenset({"video", "render"})),
            path_exists=self._path_exists,
            container_suffix="00000000",
            environ=self._environ(nodes),
            # In a pod nobody expands: what is left of it here is that ``$$NAME`` means the text ``$NAME``.
            expand=self._kind == "kubernetes",
        )
        if self._kind == "kubernetes":
            self._refuse_variables(request, title)
        try:
            plan = build_plan(request)
        except MadError as error:
            # Not every message of a plan names its model, and here there are many.
            where = "" if title in error.message else f"model {title}: "
            raise type(error)(f"{where}{error.message}", hint=error.hint) from None
        return TargetModel(
            plan=self._without_secrets(plan),
            image=pinned_reference(image),
            vendor=self._vendor(image),
            nodes=nodes,
            gpus_per_node=gpus,
            block=block or {},
            distributed=distributed,
            key=image.key,
            title=title,
            uses_tools=bool(context.get("tools")),
        )

    def _refuse_variables(self, request: PlanRequest, title: str) -> None:
        """A pod has no host whose variables a text could name; other targets expand where they run."""
        from pytest_madengine.plan.expansion import names_in

        texts = {f"env_vars.{name}": str(value) for name, value in request.model.env_vars.items()}
        texts["additional_docker_run_options"] = request.model.additional_docker_run_options
        for name, value in (request.context.get("env_vars") or {}).items():
            texts[f"env_vars.{name}"] = str(value) if isinstance(value, str) else ""
        for where, text in texts.items():
            for name in names_in(text):
                raise ConfigError(
                    f"model {title}: {where} names the variable {name} of a host, and a pod has none",
                    hint="give the value itself in the context: -c '{\"env_vars\": {...}}'",
                )

    def _without_secrets(self, plan: RunPlan) -> RunPlan:
        """The plan whose variables are typed as secrets also where only their value shows it."""
        from pytest_madengine.plan.runplan import EnvValue

        redactor = self._targets.redactor
        env = {
            name: EnvValue(Secret(entry.value), entry.origin)
            if isinstance(entry.value, str) and redactor.text(entry.value) != entry.value
            else entry
            for name, entry in plan.env.items()
        }
        return replace(plan, env=env)

    def _environ(self, nodes: int) -> dict[str, str]:
        carried = {name: self._settings.environ[name] for name in _CARRIED if name in self._settings.environ}
        job = {"MAD_DEPLOYMENT_TYPE": self._kind} if self._kind != "ansible" else {}
        several = {"NNODES": str(nodes)} if nodes > 1 else {}
        return {**self._stand.environ, **carried, **job, **several}

    def _path_exists(self, text: str) -> bool:
        """Paths of the repository are looked up; others lie on the target, which nobody can ask now."""
        path = Path(text)
        if not path.is_relative_to(self._settings.root):
            return True
        return path.is_dir() if text.endswith("/.") else path.exists()

    def _data(self, model: Model, context: Context) -> tuple[DataMount, ...]:
        """Where the data of a model appears; the target brings it there."""
        from pytest_madengine.data.service import DataService, data_names
        from pytest_madengine.errors import DataError
        from pytest_madengine.plan.runplan import DataMount

        found = []
        service = DataService(self._settings, context, self._targets.redactor)
        for position, name in enumerate(data_names(model.data)):
            entry = service.config.names.get(name)
            if entry is None or entry.error:
                text = entry.error if entry is not None else f"it is not defined in {service.config.file}"
                raise DataError(f"model {model.name}: data {name!r}: {text}")
            home = next((one.home for one in entry.sources.values() if one.home), f"/data_dlm_{position}")
            custom = entry.sources.get("custom")
            if custom is not None:
                found.append(
                    DataMount(name, "custom", custom.home or home, script=custom.path, args=custom.args)
                )
            else:
                writable = any(one.read_write for one in entry.sources.values())
                found.append(DataMount(name, "target", home, TARGET_DATA, not writable))
        return tuple(found)


def _other_blocks(kind: str) -> set[str]:
    return {name for other, names in _BLOCKS.items() if other != kind for name in names}


def merged_objects(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Objects merge key by key, everything else is replaced (contract 16.1)."""
    result = dict(below)
    for key, value in above.items():
        before = result.get(key)
        both = isinstance(before, Mapping) and isinstance(value, Mapping)
        result[key] = merged_objects(before, value) if both else value  # type: ignore[arg-type]
    return result


def _nodes(block: Mapping[str, Any], distributed: Mapping[str, Any], title: str) -> int:
    """``nodes`` of the block, else ``distributed.nnodes``, else 1."""
    for where, value in (("nodes", block.get("nodes")), ("distributed.nnodes", distributed.get("nnodes"))):
        if value is None:
            continue
        text = str(value).strip()
        if isinstance(value, bool) or not (text.isascii() and text.isdecimal() and 0 < int(text) < 100_000):
            raise ConfigError(f"model {title}: {where} is {value!r}, not a number of nodes")
        return int(text)
    return 1


def pinned_reference(image: ImageBlock) -> str:
    """``registry/name@sha256:...``; empty when the manifest does not say which image it is.

    :raises ConfigError: what it says is no image reference.
    """
    from pytest_madengine.images.naming import is_reference

    name = image.registry_image or (image.docker_image if image.given else "")
    if not name:
        return ""
    digest = image.registry_digest or name.partition("@")[2]
    if not digest:
        return ""
    head, slash, last = name.partition("@")[0].rpartition("/")
    reference = f"{head}{slash}{last.partition(':')[0]}@{digest}"
    if not is_reference(reference):
        raise ConfigError(f"manifest: {reference!r} is not a valid image reference")
    return reference
