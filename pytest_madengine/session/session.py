"""What one pytest process needs to run models: settings, selection, context and the services.

A :class:`MadSession` exists only while the plugin is active.  Its parts are made when first used, so that
collecting never talks to Docker and an unrelated run pays nothing.
"""

from __future__ import annotations

import os
import secrets as random_source
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_madengine.catalog.files import MODEL_FILES
from pytest_madengine.catalog.model import Selected
from pytest_madengine.context.types import Context, HostFacts
from pytest_madengine.errors import ConfigError, DockerfileError, Warned
from pytest_madengine.secrets import Redactor, secrets_in
from pytest_madengine.session.distinct import DirectoryNames, distinct
from pytest_madengine.session.items import ItemSpec
from pytest_madengine.settings import Settings
from pytest_madengine.util.files import private_directory

if TYPE_CHECKING:
    from docker import DockerClient

    from pytest_madengine.data.provider import Provider
    from pytest_madengine.data.service import DataService
    from pytest_madengine.executors.docker.executor import DockerExecutor
    from pytest_madengine.images.builder import ImageBuilder
    from pytest_madengine.images.dockerfile import DockerfileIndex, DockerfileMatch
    from pytest_madengine.images.transfer import Transfers
    from pytest_madengine.manifest.batch import BatchEntry
    from pytest_madengine.manifest.items import Chosen
    from pytest_madengine.manifest.reader import Manifest
    from pytest_madengine.plan.builder import HostAbilities
    from pytest_madengine.plan.tools import ToolsConfig
    from pytest_madengine.results.record import RunRecord
    from pytest_madengine.scheduling.leases import GpuLeases


#: Where everybody may make files.
SHARED = Path("/tmp")


def new_run_id() -> str:
    """An id that sorts by time and is unique on a host, e.g. ``20261123T212300.123Z-1f2e``."""
    stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S.%f")[:-3]
    return f"{stamp}Z-{random_source.token_hex(2)}"


@dataclass
class MadSession:
    """Settings and services of this process.  ``worker`` is true in an xdist worker."""

    settings: Settings
    selected: tuple[Selected, ...]
    run_id: str = field(default_factory=new_run_id)
    worker: bool = False
    #: ``--mad-plan``
    plan_only: bool = False
    warnings: list[Warned] = field(default_factory=list)
    facts: HostFacts | None = None
    redactor: Redactor = field(default_factory=Redactor)
    content_hashes: dict[Path, str] = field(default_factory=dict)
    #: What a step of the pipeline makes once for all items of this process, by its name.
    kept: dict[str, Any] = field(default_factory=dict)
    #: Data providers of the user (hook ``pytest_mad_data_providers``).
    data_providers: tuple[Provider, ...] = ()
    #: ``--mad-manifest``, and the items that are selected of it.
    manifest: Manifest | None = None
    chosen: tuple[Chosen, ...] = ()
    #: ``--mad-batch-manifest``: entry by ``model[parameters]``.
    batch: Mapping[str, BatchEntry] = field(default_factory=dict)
    _exits: ExitStack = field(default_factory=ExitStack)
    _override: Context | None = None

    # ---- places -------------------------------------------------------------------------------------

    @property
    def directory(self) -> Path:
        """``<results-dir>/<run id>``: logs, artifacts, records and journal of this session."""
        return self.settings.results_dir / self.run_id

    def make_directory(self) -> None:
        """Creates the session directory; the results directory ignores itself in git.

        :raises ConfigError: it cannot be created.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            ignore = self.settings.results_dir / ".gitignore"
            if not ignore.exists():
                ignore.write_text("# made by pytest-madengine\n*\n", encoding="utf-8")
        except OSError as error:
            raise ConfigError(
                f"results directory {self.settings.results_dir}: {error.strerror or error}",
                hint="choose a writable directory with --mad-results-dir",
            ) from None

    def artifacts(self, spec: ItemSpec) -> Path:
        """Where the collected files of an item stay."""
        return self.directory / spec.directory

    @cached_property
    def host_state(self) -> Path:
        """Host-wide directory for locks that all sessions of this user respect.

        :raises ConfigError: somebody else made it, or may write in it.
        """
        runtime = self.settings.environ.get("XDG_RUNTIME_DIR")
        if runtime and os.access(runtime, os.W_OK) and Path(runtime) != SHARED:
            return private_directory(Path(runtime) / "pytest-madengine")
        return private_directory(SHARED / f"pytest-madengine-{os.getuid()}")

    # ---- context ------------------------------------------------------------------------------------

    @cached_property
    def host_facts(self) -> HostFacts:
        """Facts of this host; in a worker those that the controlling process found."""
        if self.facts is not None:
            return self.facts
        from pytest_madengine.context.build import detection_hints
        from pytest_madengine.context.detect import detect_host, simulated_host
        from pytest_madengine.context.probe import Probe

        settings = self.settings
        hints = detection_hints(string=settings.context, file=settings.context_file)
        facts = detect_host(
            Probe.real(settings.environ),
            settings.root,
            rocm_path=hints.rocm_path,
            gpu_vendor=hints.gpu_vendor,
        )
        if self.settings.simulate_gpus:
            facts = simulated_host(self.settings.simulate_gpus, facts)
        return facts

    @cached_property
    def merged_context(self) -> Context:
        """The context of this session, merged from everything that was given (contract section 7).

        :raises ConfigError: the additional context or a tools file cannot be used.
        """
        from pytest_madengine.context.build import build_context
        from pytest_madengine.manifest.items import context_of

        context = build_context(
            string=self.settings.context,
            file=self.settings.context_file,
            environ=self.settings.environ,
            tools_docker={
                "build_args": self.tools.docker_build_args,
                "environment": self.tools.docker_environment,
            },
            manifest=context_of(
                self.manifest,
                self.host_facts,
                self.settings.environ,
                lambda: self.credentials,
                self.redactor,
            )
            if self.manifest is not None
            else None,
            facts=self.host_facts,
            gpus=self.settings.gpus,
        )
        self.redactor.add(*secrets_in(context.values))
        return context

    @property
    def context(self) -> Context:
        """The context in force: :attr:`merged_context`, or what a conftest gives an item in its place."""
        return self.merged_context if self._override is None else self._override

    def use_context(self, context: Context) -> None:
        """Puts the context of an item in force, here and in what was made with another one."""
        if context == self.context:
            return
        self._override = None if context is self.merged_context else context
        self.redactor.add(*secrets_in(context.values))
        for name in ("data", "leases"):  # made anew when next asked for; what they hold ends with the session
            self.__dict__.pop(name, None)

    @cached_property
    def tools(self) -> ToolsConfig:
        """Built-in tools overlaid by those of the repository (contract 11.1)."""
        from pytest_madengine.plan.tools import load_tools
        from pytest_madengine.resources import builtin_tools

        path = self.settings.tools_config or self.settings.root / "scripts/common/tools.json"
        if not path.is_file():
            if self.settings.tools_config is not None:
                raise ConfigError(f"--mad-tools-config: {path} is not a file")
            return load_tools(builtin_tools(), None, str(path))
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: {error}") from None
        return load_tools(builtin_tools(), text, str(path))

    @cached_property
    def credentials(self) -> Mapping[str, Any]:
        """``credential.json`` with its secrets typed (contract section 14)."""
        from pytest_madengine.credentials import load_credentials

        given = self.settings.credentials
        loaded = load_credentials(given or self.settings.root / "credential.json", given is not None)
        self.warnings += loaded.warnings
        self.redactor.add(*secrets_in(loaded.values))
        return loaded.values

    # ---- services -----------------------------------------------------------------------------------

    @cached_property
    def dockerfiles(self) -> DockerfileIndex:
        """Dockerfiles of the root, read once."""
        from pytest_madengine.images.dockerfile import DockerfileIndex

        return DockerfileIndex(self.settings.root)

    @cached_property
    def client(self) -> DockerClient:
        """The engine.

        :raises EngineError: absent or not permitted.
        """
        from pytest_madengine.engine.client import connect

        client = connect(self.settings.environ, self.settings.engine_silence)
        self._exits.callback(client.close)
        return client

    def reap(self) -> list[str]:
        """Removes containers of owners that died (contract 10.3); a line for each.

        Without an engine there is nothing to say: items that need one will.
        """
        from pytest_madengine.engine.leftovers import find_leftovers, remove_leftovers
        from pytest_madengine.engine.owner import current_owner
        from pytest_madengine.errors import EngineError

        try:
            client = self.client
        except EngineError:
            return []
        try:
            leftovers = find_leftovers(client, current_owner())
            removed = remove_leftovers(client, leftovers)
        except EngineError as error:
            return [f"containers of an earlier session stay: {error.message}"]
        return [f"removed container {one.name} of session {one.run_id}, whose owner died" for one in removed]

    @cached_property
    def builder(self) -> ImageBuilder:
        """Builds images, each once per session."""
        from pytest_madengine.images.builder import ImageBuilder

        return ImageBuilder(
            lambda: self.client,
            self.settings.environ,
            self.redactor,
            self.directory / "builds",
            self.host_state / "builds",
        )

    @cached_property
    def transfers(self) -> Transfers:
        """Pushes images to registries and pulls them."""
        from pytest_madengine.images.transfer import Transfers

        return Transfers(
            lambda: self.client, self.settings.environ, self.redactor, self.host_state / "transfers"
        )

    @cached_property
    def executor(self) -> DockerExecutor:
        """Runs plans."""
        from pytest_madengine.executors.docker.executor import DockerExecutor
        from pytest_madengine.executors.workspace import WORKSPACES, register, sweep, sweep_all
        from pytest_madengine.resources import scripts_common

        # What sessions that were killed left behind; directories in use are locked.
        for workspaces in self.settings.results_dir.glob(f"*/{WORKSPACES}"):
            sweep(workspaces)
        own, places = self.directory.absolute() / WORKSPACES, self.host_state / "workspaces"
        register(places, own)
        sweep_all(places, skip=own)
        executor = DockerExecutor(lambda: self.client, self.redactor, own, scripts_common())
        self._exits.callback(executor.close)
        return executor

    @cached_property
    def leases(self) -> GpuLeases:
        """Leases of the GPUs of this host, and of the CPUs of ``docker_cpus``."""
        from pytest_madengine.context.ranges import parse_ranges
        from pytest_madengine.scheduling.leases import GpuLeases

        cpus = "".join(str(self.context.get("docker_cpus") or "").split())
        return GpuLeases(self.host_facts, self.settings, cpus=parse_ranges(cpus) if cpus else None)

    @cached_property
    def data(self) -> DataService:
        """Provides data sources."""
        from pytest_madengine.data.service import DataService

        service = DataService(self.settings, self.context, self.redactor, providers=self.data_providers)
        self._exits.callback(service.close)
        return service

    @cached_property
    def abilities(self) -> HostAbilities:
        """What this host offers to containers."""
        import grp

        from pytest_madengine.plan.builder import HostAbilities

        groups = frozenset(entry.gr_name for entry in grp.getgrall())
        return HostAbilities(fuse=Path("/dev/fuse").exists(), groups=groups)

    @cached_property
    def root_entries(self) -> tuple[str, ...]:
        """Top-level names of the MAD root."""
        return tuple(sorted(entry.name for entry in self.settings.root.iterdir()))

    @property
    def model_files(self) -> frozenset[str]:
        """Names of the files under which model items are collected."""
        return MODEL_FILES if self.manifest is None else MODEL_FILES | {self.manifest.path.name}

    def source_of(self, path: Path) -> str:
        """A file as items name it: relative to the MAD root; the whole path of one outside."""
        # Also by way of a symbolic link to a directory of the root.
        for place in (path, path.parent.resolve() / path.name):
            if place.is_relative_to(self.settings.root):
                return place.relative_to(self.settings.root).as_posix()
        return str(path)

    # ---- items --------------------------------------------------------------------------------------

    @cached_property
    def items_by_file(self) -> dict[str, list[ItemSpec]]:
        """The items of this session per source file (relative to the root), in selection order."""
        result: dict[str, list[ItemSpec]] = {}
        if self.manifest is None:
            specs = self.specs_of(self.selected)
        else:
            from pytest_madengine.session.items import specs_of_manifest

            specs = distinct(specs_of_manifest(self.chosen))
        for spec in specs:
            result.setdefault(spec.selected.model.source, []).append(spec)
        return result

    def specs_of(self, selection: Iterable[Selected]) -> list[ItemSpec]:
        """The items of a selection: one per model, parameters, matching Dockerfile and architecture."""
        from pytest_madengine.catalog.ids import item_name

        architectures = self.settings.target_archs or ("",)
        several = len(architectures) > 1
        directory_of = DirectoryNames()
        specs = []
        for selected in selection:
            for base, match, error in self._matches(selected):
                for arch in architectures if match is not None else ("",):
                    name = item_name(selected, ":".join(filter(None, (base, arch))) if several else base)
                    specs.append(ItemSpec(name, selected, match, error, directory_of(name), arch=arch))
        return distinct(specs)

    def _matches(
        self, selected: Selected
    ) -> list[tuple[str | None, DockerfileMatch | None, DockerfileError | None]]:
        model = selected.model
        given = self.settings.use_image or self.context.get("MAD_CONTAINER_IMAGE")
        if given or (not model.dockerfile and model.prebuilt_image):
            return [(None, None, None)]
        try:
            matches = self.dockerfiles.match(model, self.context)
        except DockerfileError as error:
            return [(None, None, error)]
        if len(matches) == 1:
            return [(None, matches[0], None)]
        return [(match.base, match, None) for match in matches]

    @cached_property
    def resumable(self) -> Mapping[str, RunRecord]:
        """Items with a SUCCESS in the session that ``--mad-resume`` names, by item id.

        :raises ConfigError: there is no such session.
        """
        from pytest_madengine.session.resume import successes

        settings = self.settings
        if not settings.resume:
            return {}
        found, notes = successes(settings.results_dir, settings.resume, self.run_id)
        self.warnings += map(Warned, notes)
        return found

    # ---- to the workers -----------------------------------------------------------------------------

    def close(self) -> None:
        """Closes the services that were used: connections, shared directories."""
        self._exits.close()
