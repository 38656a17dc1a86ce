"""The environment of the container, complete and with the origin of every value (contract 10.7)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from pytest_madengine.catalog.ids import environment_parameters
from pytest_madengine.context.host import in_job
from pytest_madengine.context.keys import is_variable_name, to_text
from pytest_madengine.context.kinds import gpu_names
from pytest_madengine.context.rocm import container_rocm_path
from pytest_madengine.errors import ConfigError, CredentialError, PlanError
from pytest_madengine.plan.clone import model_credential
from pytest_madengine.plan.expansion import Expander
from pytest_madengine.plan.launchers import MultiNode, local_runner
from pytest_madengine.plan.request import PlanRequest
from pytest_madengine.plan.runplan import EnvValue
from pytest_madengine.plan.tools import SelectedTools, tool_variables
from pytest_madengine.secrets import Secret, is_secret, reveal

#: Inherited inside Slurm and Kubernetes jobs.  Never ``*_VISIBLE_DEVICES``: the container has the leased GPUs
#: only, counted from 0, and numbers of the host would hide them.
JOB_VARIABLES: Final = (
    "MASTER_ADDR",
    "MASTER_PORT",
    "WORLD_SIZE",
    "RANK",
    "NODE_RANK",
    "NNODES",
    "NPROC_PER_NODE",
    "GPUS_PER_NODE",
    "MAD_COLLECT_METRICS",
    "MAD_DEPLOYMENT_TYPE",
    "NCCL_SOCKET_IFNAME",
    "GLOO_SOCKET_IFNAME",
    "NCCL_DEBUG",
    "NCCL_IB_DISABLE",
    "NCCL_NET_GDR_LEVEL",
    "PRIMUS_CONFIG_PATH",
    "PRIMUS_CLI_EXTRA",
    "BACKEND",
    "TORCH_ELASTIC_RDZV_TIMEOUT",
    "MIOPEN_USER_DB_PATH",
)
#: Facts about GPUs, computed for every run.
_SYSTEM: Final = {
    "MAD_SYSTEM_NGPUS": "gpu_count",
    "MAD_SYSTEM_GPU_ARCHITECTURE": "gpu_architecture",
    "MAD_SYSTEM_GPU_PRODUCT_NAME": "gpu_product_name",
    "MAD_SYSTEM_HIP_VERSION": "runtime_version",
}
_MULTI_NODE: Final = (
    "NNODES",
    "NODE_RANK",
    "MASTER_ADDR",
    "MASTER_PORT",
    "HOST_LIST",
    "NCCL_SOCKET_IFNAME",
    "GLOO_SOCKET_IFNAME",
)
#: Names a selector parameter never replaces, whether or not this run sets them.
COMPUTED: Final = frozenset(
    {"MAD_DATANAME", "MAD_DATAHOME", "MAD_MODEL_NAME", "JENKINS_BUILD_NUMBER", "MAD_OUTPUT_CSV"}
    | {"MAD_GPU_VENDOR", *_SYSTEM, "MAD_GUEST_OS", "MAD_RUNTIME_NGPUS", "ROCM_PATH"}
    | {"MAD_MULTI_NODE_RUNNER", *(f"MAD_MULTI_NODE_{name}" for name in _MULTI_NODE)}
)
#: Fields of a credential that are no secrets (contract 14.2).
_PUBLIC_FIELDS: Final = frozenset(
    {"username", "host", "port", "name", "repository", "endpoint", "ssh_key_file"}
)
_UNSENDABLE: Final = re.compile(r"[=\0]")


class EnvironmentBuilder:
    """Collects the rows of contract 10.7 in their order; later ones win."""

    def __init__(self, request: PlanRequest) -> None:
        self._request = request
        self._context = request.context
        self._values: dict[str, EnvValue] = {}
        self._notes: list[str] = []
        self._probe_rocm_path = False

    def build(
        self, tools: SelectedTools, launcher: str, nodes: MultiNode | None
    ) -> tuple[dict[str, EnvValue], bool, tuple[str, ...]]:
        """The environment, whether ``ROCM_PATH`` is to be probed in the container, and notes.

        :param launcher: canonical launcher name.
        :param nodes: completed ``multi_node_args``, if given.
        :raises ConfigError: an invalid name in ``docker_env_vars``.
        :raises PlanError: a value cannot be sent or a reference cannot be resolved.
        :raises CredentialError: the credential of the model is missing.
        """
        given, tool_defaults, secrets = self._docker_env_vars()
        self._set_all(dict(self._request.proxies), "docker:config.json")
        self._set_all(dict(self._request.tools.docker_environment), "tools")
        self._set_all(tool_defaults, "tools")
        self._models_and_users()
        self._tools(tools)
        self._credential()
        self._data()
        self._identity()
        self._system(given)
        self._runtime(given)
        self._launch(launcher, nodes)
        self._parameters()
        for name, (secret, origin) in secrets.items():
            self._set(name, secret, origin)
        self._job()
        for name, (value, origin) in given.items():
            self._set(name, value, origin)
        if self._context.gpu_vendor == "AMD" and given.get("MAD_ROCM_PATH"):
            self._rocm_path(given)
        return self._values, self._probe_rocm_path, tuple(self._notes)

    # ---- rows ---------------------------------------------------------------------------------------

    def _docker_env_vars(
        self,
    ) -> tuple[dict[str, tuple[str | Secret, str]], dict[str, str | Secret], dict[str, tuple[Secret, str]]]:
        """``docker_env_vars`` by source: the user, the ``docker`` section of tools.json, ``MAD_SECRETS*``.

        Detected leaves belong to row 6 and are read from there.
        """
        user: dict[str, tuple[str | Secret, str]] = {}
        defaults: dict[str, str | Secret] = {}
        secrets: dict[str, tuple[Secret, str]] = {
            name: (Secret(value), f"env:{name}")
            for name, value in self._request.environ.items()
            if "MAD_SECRETS" in name and is_variable_name(name)
        }
        for name, raw in self._object("docker_env_vars").items():
            if not is_variable_name(str(name)):
                raise ConfigError(f"context: docker_env_vars: {name!r} is not a valid variable name")
            origin = self._context.origin(f"docker_env_vars.{name}")
            value = self._text(raw, f"docker_env_vars.{name}")
            if origin == "tools":
                defaults[name] = value
            elif origin.startswith("env:"):
                secrets[name] = (Secret(reveal(value)), origin)
            elif not origin.startswith("detected:"):
                user[name] = (value, origin)
        return user, defaults, secrets

    def _models_and_users(self) -> None:
        where = self._request.where
        users = self._object("env_vars")
        for key, own in self._request.model.env_vars.items():
            if key not in users:  # what nobody will see need not be known here
                self._set(key, self._expanded(_plain(own), f"{where}: env_vars.{key}"), "model")
        for name, raw in users.items():
            path = f"env_vars.{name}"
            value = self._expanded(self._text(raw, path), f"context: {path}")
            self._set(str(name), value, self._context.origin(path))

    def _expanded(self, value: str | Secret, where: str) -> str | Secret:
        """A text with the variables of this host that it names; what is a secret already is one as it is."""
        if isinstance(value, Secret):
            return value
        return Expander(self._request.environ, self._request.expand).typed(value, where)

    def _tools(self, tools: SelectedTools) -> None:
        for name, (value, by_context) in tool_variables(tools.tools).items():
            self._set(name, value, self._context.origin("tools") if by_context else "tools")

    def _credential(self) -> None:
        model = self._request.model
        for field, raw in model_credential(model, self._request.credentials).items():
            if isinstance(raw, (str, Secret)):
                public = field.lower() in _PUBLIC_FIELDS
                value: str | Secret = reveal(raw) if public else Secret(reveal(raw))
                self._set(f"{model.cred}_{field.upper()}", value, f"credential:{model.cred}")

    def _data(self) -> None:
        if not self._request.model.data:
            return
        self._set("MAD_DATANAME", self._request.model.data, "model")
        homes = ",".join(mount.home for mount in self._request.data if mount.home)
        if homes:
            self._set("MAD_DATAHOME", homes, "plan")

    def _identity(self) -> None:
        model = self._request.model
        self._set("MAD_MODEL_NAME", model.name, "model")
        number = self._request.environ.get("BUILD_NUMBER")
        self._set("JENKINS_BUILD_NUMBER", number or "0", "env:BUILD_NUMBER" if number else "plan")
        if model.multiple_results:
            self._set("MAD_OUTPUT_CSV", model.multiple_results, "model")

    def _system(self, given: Mapping[str, Any]) -> None:
        context, facts = self._context, self._context.facts
        vendor_origin = context.origin("gpu_vendor")
        self._set_found("MAD_GPU_VENDOR", context.gpu_vendor, vendor_origin)
        architecture, product = gpu_names(facts, self._request.lease.gpus)
        leased = {"gpu_architecture": architecture, "gpu_product_name": product}
        for name, attribute in _SYSTEM.items():
            origin = context.origin(f"docker_env_vars.{name}")
            origin = origin if origin.startswith("detected:") else f"detected:{facts.gpu_vendor.lower()}"
            self._set_found(name, leased.get(attribute) or str(getattr(facts, attribute)), origin)
        if self._request.settings.cpu and "MAD_SYSTEM_NGPUS" not in given:
            self._set("MAD_SYSTEM_NGPUS", "0", "plan")
        guest, of_image = context.get("guest_os"), self._request.image.context.get("guest_os")
        if guest:
            self._set("MAD_GUEST_OS", str(guest), context.origin("guest_os"))
        else:
            self._set_found(
                "MAD_GUEST_OS", str(of_image or "UBUNTU").upper(), "image" if of_image else "plan"
            )

    def _runtime(self, given: Mapping[str, tuple[str | Secret, str]]) -> None:
        self._set("MAD_RUNTIME_NGPUS", str(len(self._request.lease.gpus)), "lease")
        if self._context.gpu_vendor == "AMD":
            self._rocm_path(given)

    def _rocm_path(self, given: Mapping[str, tuple[str | Secret, str]]) -> None:
        values = {name: value for name, (value, _) in given.items()}
        found = container_rocm_path(values, self._request.image.env)
        if found is None:
            self._probe_rocm_path = "ROCM_PATH" not in self._values
            return
        path, origin = found
        name = origin.rpartition(".")[2] if origin.startswith("docker_env_vars.") else ""
        if name:
            self._set("ROCM_PATH", path, given[name][1])
        else:
            self._set_found("ROCM_PATH", path, origin)

    def _launch(self, launcher: str, nodes: MultiNode | None) -> None:
        if nodes is None:
            self._set("MAD_MULTI_NODE_RUNNER", local_runner(launcher, len(self._request.lease.gpus)), "plan")
            return
        self._set("MAD_MULTI_NODE_RUNNER", nodes.runner, self._context.origin("multi_node_args"))
        given = self._object("multi_node_args")
        for name in _MULTI_NODE:
            origin = self._context.origin(f"multi_node_args.{name}") if name in given else "plan"
            self._set(f"MAD_MULTI_NODE_{name}", nodes.variables[name], origin)

    def _parameters(self) -> None:
        for name, value in environment_parameters(self._request.selected).items():
            present = self._values.get(name)
            if name in COMPUTED or (present is not None and present.origin.startswith("credential:")):
                self._notes.append(
                    f"parameter {name!r} does not replace the variable {name} that the plugin computes"
                )
            else:
                self._set(name, value, "parameter")

    def _job(self) -> None:
        environ = self._request.environ
        if not in_job(environ):
            return
        for name in JOB_VARIABLES:
            if name in environ:
                self._set(name, environ[name], f"env:{name}")

    # ---- values -------------------------------------------------------------------------------------

    def _object(self, key: str) -> Mapping[str, Any]:
        value = self._context.get(key)
        return value if isinstance(value, Mapping) else {}

    def _text(self, raw: Any, path: str) -> str | Secret:
        """A leaf as text; a reference to a credential is resolved (contract 9.2)."""
        if isinstance(raw, Mapping) and len(raw) == 1:
            ((kind, name),) = raw.items()
            if kind == "from_credential":
                key, _, field = str(name).rpartition(".")
                found = self._request.credentials.get(key, {}).get(field)
                if isinstance(found, (str, Secret)):
                    return Secret(reveal(found))
                raise CredentialError(f"context: {path} needs {name} of credential.json, which is not there")
            if kind == "from_env":
                if name in self._request.environ:
                    return Secret(self._request.environ[name])
                raise PlanError(f"context: {path} needs the environment variable {name}, which is not set")
        text = to_text(raw)
        if text is None:
            raise ConfigError(f"context: {path} must be text, a number or true/false")
        return text

    def _set_all(self, values: Mapping[str, str | Secret], origin: str) -> None:
        for name, value in values.items():
            self._set(name, value, origin)

    def _set_found(self, name: str, value: str, origin: str) -> None:
        """A detected value: it gives way to one that a user or the model gave."""
        present = self._values.get(name)
        if present is None or present.origin == "tools" or not _is_found(origin):
            self._set(name, value, origin)

    def _set(self, name: str, value: str | Secret, origin: str) -> None:
        if not name or _UNSENDABLE.search(name) or "\0" in reveal(value):
            raise PlanError(f"{self._request.where}: {name!r} ({origin}) cannot be a container variable")
        if isinstance(value, str) and is_secret(name, value):
            value = Secret(value)
        # Taken out first, so that the order of the environment is the order of the rows.
        self._values.pop(name, None)
        self._values[name] = EnvValue(value, origin)


def _is_found(origin: str) -> bool:
    return origin in {"plan", "default", "image"} or origin.startswith(("detected:", "image:"))


def _plain(value: Any) -> str | Secret:
    return value if isinstance(value, (str, Secret)) else str(value)
