"""``generate k8s``: objects that the API accepts, that say what the plans say, and that hold no secret."""

from __future__ import annotations

import json
from typing import Any

import kubernetes_validate
import pytest
import yaml
from pytest_madengine.deploy.k8s.objects import LARGEST_CONFIG_MAP
from pytest_madengine.errors import ConfigError, MadError

FILES = ("k8s-madengine-configmap.yaml", "k8s-madengine-job.yaml")
TWO_NODES = {"distributed": {"nnodes": 2, "launcher": "torchrun", "port": 1234}, "k8s": {"gpu_count": 4}}


def validate(site: Any, *versions: str) -> None:
    for name in FILES:
        for document in site.documents(name):
            for version in versions:
                kubernetes_validate.validate(document, version, strict=True)


def test_a_model_without_gpus(site: Any) -> None:
    site.model("m", n_gpus="0")
    generated = site.k8s()
    assert [path.name for path in generated.files] == [*FILES, "k8s-madengine-secrets.sh"]
    validate(site, "1.27.0", "1.32.0", "1.37.0")
    namespace, config = site.documents(FILES[0])
    assert (namespace["kind"], namespace["metadata"]["name"]) == ("Namespace", "madengine")
    assert (config["kind"], config["metadata"]["name"]) == ("ConfigMap", "madengine-config")
    assert json.loads(config["data"]["build_manifest.json"]) == site.manifest
    job = site.one("Job")
    assert (job["metadata"]["name"], job["metadata"]["namespace"]) == ("madengine-job", "madengine")
    assert job["spec"]["backoffLimit"] == 3
    assert "completionMode" not in job["spec"]
    assert "ttlSecondsAfterFinished" not in job["spec"]
    container = site.container()
    digest = site.manifest["built_images"]["ci-m0_any"]["registry_digest"]
    assert container["image"] == f"registry.example.com:5000/ml/ci-m0_any@{digest}"
    assert container["imagePullPolicy"] == "Always"
    assert container["resources"] == {
        "requests": {"cpu": "8", "memory": "16Gi"},
        "limits": {"cpu": "16", "memory": "32Gi"},
    }
    assert "securityContext" not in container
    claim = site.one("PersistentVolumeClaim")
    assert claim["metadata"]["name"] == "madengine-job-results"
    assert claim["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "10Gi"}},
    }
    env = site.env()
    assert env["MAD_DEPLOYMENT_TYPE"] == "kubernetes"
    assert env["MAD_K8S_JOB"] == "true"
    assert env["MAD_K8S_POD_NAME"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    assert env["MAD_MODEL_NAME"] == "m"
    assert env["OMP_NUM_THREADS"] == "8"
    assert env["MAD_MULTI_NODE_RUNNER"] == "torchrun --standalone --nproc_per_node=1"


def test_defect_39_no_engine_and_only_pinned_images(site: Any) -> None:
    """Defect 39: given a manifest / when Kubernetes files are rendered / then no socket of an engine is
    mounted and every image has a digest; a model that asks for the socket is refused."""
    site.model("a", n_gpus="0").model("b", n_gpus="0")
    site.k8s()
    text = "".join((site.out / name).read_text() for name in FILES)
    jobs = [one for one in site.documents() if one["kind"] == "Job"]
    assert [job["metadata"]["name"] for job in jobs] == ["madengine-job", "madengine-job-2"]
    assert "docker.sock" not in text
    assert "hostPath" not in text
    for job in jobs:
        for container in job["spec"]["template"]["spec"]["containers"]:
            assert "@sha256:" in container["image"]
    for source in ("/var/run/docker.sock", "/run/../run/docker.sock", "/run/containerd", "//var/run", "/"):
        with pytest.raises(MadError, match=r"model a.*engine"):
            site.k8s({"docker_mounts": {"/x": source}})


def test_directories_of_the_node(site: Any) -> None:
    site.model("m", n_gpus="0")
    generated = site.k8s({"docker_mounts": {"/scratch": "/mnt/scratch"}})
    assert {"name": "host-0", "hostPath": {"path": "/mnt/scratch"}} in site.pod()["volumes"]
    assert {"name": "host-0", "mountPath": "/scratch"} in site.container()["volumeMounts"]
    assert any("/mnt/scratch of the node" in text for text in generated.warnings)


@pytest.mark.parametrize("missing", ["registry_image", "registry_digest"])
def test_images_that_no_cluster_could_pull(site: Any, missing: str) -> None:
    site.model("here", n_gpus="0").model("gone", n_gpus="0", image={missing: None})
    with pytest.raises(ConfigError, match="digest for the image of gone") as caught:
        site.k8s()
    assert "build --registry" in caught.value.hint
    assert not site.out.exists()


def test_an_image_that_was_named_by_its_digest(site: Any) -> None:
    pinned = f"docker.io/rocm/pytorch@sha256:{'cd' * 32}"
    image = {"registry_image": None, "registry_digest": None, "docker_image": pinned, "prebuilt": True}
    site.model("m", n_gpus="0", image=image)
    site.k8s()
    assert site.container()["image"] == pinned


@pytest.mark.parametrize(
    ("vendor", "resource"),
    [("AMD", "amd.com/gpu"), ("NVIDIA", "nvidia.com/gpu"), ("INTEL", "gpu.intel.com/i915")],
)
def test_gpus_by_vendor(site: Any, vendor: str, resource: str) -> None:
    site.manifest["context"] = {"gpu_vendor": vendor}
    site.model("m", n_gpus="2")
    site.k8s()
    validate(site, "1.31.0")
    resources = site.container()["resources"]
    assert resources["limits"] == {"cpu": "32", "memory": "128Gi", resource: "2"}
    assert resources["requests"][resource] == "2"
    assert site.env()["MAD_RUNTIME_NGPUS"] == "2"
    assert site.env()["MAD_SYSTEM_NGPUS"] == "2"
    assert site.env()["MAD_GPU_VENDOR"] == vendor
    assert site.env()["MAD_MULTI_NODE_RUNNER"] == "torchrun --standalone --nproc_per_node=2"


def test_vendor_of_the_image_and_of_the_command_line(site: Any) -> None:
    site.manifest["context"] = {}
    site.model("m", image={"gpu_vendor": "NVIDIA"})
    site.k8s()
    assert "nvidia.com/gpu" in site.container()["resources"]["limits"]
    assert site.env()["NCCL_P2P_LEVEL"] == "NVL"
    site.k8s({"gpu_vendor": "intel"})
    assert "gpu.intel.com/i915" in site.container()["resources"]["limits"]


def test_gpus_of_nobody(site: Any) -> None:
    site.manifest["context"] = {}
    site.model("m")
    with pytest.raises(ConfigError, match="nobody said of which vendor"):
        site.k8s()
    site.k8s({"k8s": {"gpu_resource_name": "example.com/accelerator"}})
    assert site.container()["resources"]["limits"]["example.com/accelerator"] == "1"


@pytest.mark.parametrize(
    ("context", "gpus"),
    [
        ({}, 4),
        ({"k8s": {"gpu_count": 2}}, 2),
        ({"kubernetes": {"gpu_count": "2"}}, 2),
        ({"k8s": {"gpu_count": 2}, "ngpus": 3}, 3),
        ({"slurm": {"gpus_per_node": 8}}, 4),
    ],
)
def test_precedence_of_the_gpu_count(site: Any, context: dict[str, Any], gpus: int) -> None:
    """Contract 10.5: alias, block, model; the block of another target says nothing."""
    site.model("m", n_gpus="4")
    site.k8s(context)
    assert site.container()["resources"]["limits"]["amd.com/gpu"] == str(gpus)


def test_blocks_of_model_manifest_and_command_line_merge(site: Any) -> None:
    site.manifest["deployment_config"] = {"k8s": {"memory": "20Gi", "node_selector": {"a": "1"}}}
    own = {"cpu": "3", "memory": "1Gi", "node_selector": {"pool": "gpu", "a": "0"}}
    site.model("m", n_gpus="0", k8s=own)
    site.k8s({"k8s": {"memory_limit": "21Gi"}})
    resources = site.container()["resources"]
    assert resources["requests"] == {"cpu": "3", "memory": "20Gi"}
    assert resources["limits"] == {"cpu": "16", "memory": "21Gi"}
    assert site.pod()["nodeSelector"] == {"pool": "gpu", "a": "1"}


def test_all_gpus_must_be_counted(site: Any) -> None:
    site.model("m", n_gpus="-1")
    with pytest.raises(ConfigError, match="all GPUs") as caught:
        site.k8s()
    assert "gpu_count" in caught.value.hint


def test_everything_of_the_block(site: Any) -> None:
    site.model("m", n_gpus="0")
    block = {
        "image_pull_policy": "IfNotPresent",
        "backoff_limit": 0,
        "ttl_seconds_after_finished": 60,
        "host_ipc": True,
        "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "service_account": "bench",
        "allow_privileged_profiling": True,
        "local_path_storage_class": "local",
        "storage_class": "slow",
        "results_storage_size": "1Gi",
    }
    site.k8s({"k8s": block}, namespace="bench", environment="night")
    validate(site, "1.28.0", "1.36.0")
    job, pod = site.one("Job"), site.pod()
    assert (job["spec"]["backoffLimit"], job["spec"]["ttlSecondsAfterFinished"]) == (0, 60)
    assert job["metadata"]["labels"]["pytest-madengine.io/environment"] == "night"
    assert pod["hostIPC"] is True
    assert pod["serviceAccountName"] == "bench"
    assert pod["tolerations"] == block["tolerations"]
    assert site.container()["imagePullPolicy"] == "IfNotPresent"
    assert site.container()["securityContext"] == {
        "capabilities": {"add": ["SYS_PTRACE"]},
        "seccompProfile": {"type": "Unconfined"},
    }
    claim = site.one("PersistentVolumeClaim")["spec"]
    assert claim["storageClassName"] == "local"
    assert claim["resources"]["requests"]["storage"] == "1Gi"
    assert {one["metadata"].get("namespace", "bench") for one in site.documents()} == {"bench"}
    assert all(volume["name"] != "shm" for volume in pod["volumes"])


@pytest.mark.parametrize(
    ("block", "place"),
    [
        ({"memory": "lots"}, "k8s.memory"),
        ({"cpu": True}, "k8s.cpu"),
        ({"backoff_limit": -1}, "k8s.backoff_limit"),
        ({"host_ipc": "perhaps"}, "k8s.host_ipc"),
        ({"image_pull_policy": "Sometimes"}, "k8s.image_pull_policy"),
        ({"node_selector": ["a"]}, "k8s.node_selector"),
        ({"node_selector": {"a b": "c"}}, "k8s.node_selector"),
        ({"tolerations": [{"key": 1}]}, "k8s.tolerations"),
        ({"tolerations": {"key": "a"}}, "k8s.tolerations"),
        ({"service_account": "A_b"}, "k8s.service_account"),
        ({"results_pvc": "../x"}, "k8s.results_pvc"),
        ({"gpu_resource_name": "a b"}, "k8s.gpu_resource_name"),
        ({"secrets": {"strategy": "inline"}}, "k8s.secrets.strategy"),
        ({"secrets": {"strategy": "existing"}}, "runtime_secret_name"),
        ({"secrets": {"image_pull_secret_names": [1]}}, "image_pull_secret_names"),
        ({"secrets": 3}, "k8s.secrets"),
    ],
)
def test_wrong_values_of_the_block(site: Any, block: dict[str, Any], place: str) -> None:
    site.model("m", n_gpus="0")
    with pytest.raises(ConfigError, match=place.replace(".", r"\.")):
        site.k8s({"k8s": block})
    assert not site.out.exists()


def test_unknown_keys_of_the_block_are_told(site: Any) -> None:
    site.model("m", n_gpus="0")
    assert any("k8s.memroy is unknown" in text for text in site.k8s({"k8s": {"memroy": "1Gi"}}).warnings)


@pytest.mark.parametrize("name", ["Upper", "a b", "-a", "a" * 64, ""])
def test_wrong_names(site: Any, name: str) -> None:
    site.model("m", n_gpus="0")
    with pytest.raises(ConfigError, match="--namespace"):
        site.k8s(namespace=name)


@pytest.mark.parametrize("name", ["../x", "a b", "", "{{ x }}"])
def test_wrong_environments(site: Any, name: str) -> None:
    site.model("m", n_gpus="0")
    for generate in (site.k8s, site.ansible, site.slurm):
        with pytest.raises(ConfigError, match="--environment"):
            generate(environment=name)


def test_several_nodes(site: Any) -> None:
    site.model("m", n_gpus="8")
    site.k8s({**TWO_NODES, "k8s": {"gpu_count": 4, "nfs_storage_class": "nfs"}})
    validate(site, "1.27.0", "1.37.0")
    spec = site.one("Job")["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 2, 2)
    assert site.pod()["subdomain"] == "madengine-job"
    assert site.pod()["hostIPC"] is True
    service = site.one("Service")
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"].items() <= spec["template"]["metadata"]["labels"].items()
    claim = site.one("PersistentVolumeClaim")["spec"]
    assert (claim["accessModes"], claim["storageClassName"]) == (["ReadWriteMany"], "nfs")
    env = site.env()
    assert env["MASTER_ADDR"] == "madengine-job-0.madengine-job"
    assert (env["MASTER_PORT"], env["WORLD_SIZE"], env["NNODES"]) == ("1234", "8", "2")
    assert env["NODE_RANK"]["fieldRef"]["fieldPath"].endswith("job-completion-index']")
    assert env["MAD_MULTI_NODE_RUNNER"] == (
        "torchrun --nnodes=2 --nproc_per_node=4 --node_rank=$(NODE_RANK) "
        "--master_addr=$(MASTER_ADDR) --master_port=1234"
    )
    assert env["NCCL_TIMEOUT"] == "600"
    # The API resolves references to variables that stand before them.
    names = [entry["name"] for entry in site.container()["env"]]
    assert names.index("NODE_RANK") < names.index("RANK") < names.index("MAD_MULTI_NODE_RUNNER")


@pytest.mark.parametrize(
    ("launcher", "nodes", "expected"),
    [
        ("torchtitan", 1, {"TORCHTITAN_TENSOR_PARALLEL_SIZE": "4", "TORCHTITAN_PIPELINE_PARALLEL_SIZE": "1"}),
        ("torchtitan", 2, {"TORCHTITAN_FSDP_ENABLED": "1", "TORCHTITAN_PIPELINE_PARALLEL_SIZE": "2"}),
        ("megatron", 2, {"TENSOR_MODEL_PARALLEL_SIZE": "4", "PIPELINE_MODEL_PARALLEL_SIZE": "2"}),
        ("vllm", 1, {"VLLM_DISTRIBUTED_BACKEND": "auto", "MAD_MULTI_NODE_RUNNER": ""}),
        ("vllm", 2, {"VLLM_DISTRIBUTED_BACKEND": "ray", "VLLM_TENSOR_PARALLEL_SIZE": "4"}),
        ("sglang", 2, {"SGLANG_TENSOR_PARALLEL_SIZE": "4", "SGLANG_PIPELINE_PARALLEL_SIZE": "1"}),
        (
            "sglang-disagg",
            3,
            {
                "SGLANG_DISAGG_PREFILL_NODES": "1",
                "SGLANG_NODE_RANK": "$(NODE_RANK)",
                "SGLANG_NODE_IPS": "madengine-job-0.madengine-job,madengine-job-1.madengine-job,"
                "madengine-job-2.madengine-job",
            },
        ),
        ("deepspeed", 1, {"MAD_MULTI_NODE_RUNNER": "deepspeed --num_gpus=4"}),
        ("primus", 2, {"PRIMUS_CONFIG_PATH": "exp_pretrain.yaml", "NNODES": "2"}),
    ],
)
def test_launchers(site: Any, launcher: str, nodes: int, expected: dict[str, str]) -> None:
    """Contract 15.3 on Kubernetes."""
    site.model("m", n_gpus="4", distributed={"launcher": launcher, "nnodes": nodes})
    site.k8s()
    assert expected.items() <= site.env().items()


@pytest.mark.parametrize(
    ("distributed", "text"),
    [
        ({"launcher": "sglang-disagg"}, "at least 2 nodes"),
        ({"launcher": "slurm_multi"}, "needs Slurm"),
        ({"launcher": "torchrnu"}, "unknown launcher"),
        ({"nnodes": 0}, "not a number of nodes"),
        ({"port": "x"}, "not a port"),
    ],
)
def test_launchers_that_cannot_run_there(site: Any, distributed: dict[str, Any], text: str) -> None:
    site.model("m", n_gpus="1", distributed=distributed)
    with pytest.raises(MadError, match=text):
        site.k8s()


@pytest.mark.parametrize(
    ("fields", "context", "where"),
    [
        ({"env_vars": {"A": "x/${REGION}"}}, {}, r"env_vars\.A names the variable REGION"),
        ({"additional_docker_run_options": "-e B=$REGION"}, {}, "additional_docker_run_options names"),
        ({}, {"env_vars": {"A": "$REGION"}}, r"env_vars\.A names the variable REGION"),
    ],
)
def test_a_pod_has_no_host(site: Any, fields: dict[str, Any], context: dict[str, Any], where: str) -> None:
    """faults 5.6: given a text that names a variable of a host, when pods are made, then it is refused: no
    host would expand it, and that of the person who generates is the wrong one.
    """
    site.model("m", n_gpus="0", **fields)
    with pytest.raises(MadError, match=f"model m: {where}"):
        site.k8s(context)


def test_values_for_pods_and_texts_with_a_dollar(site: Any) -> None:
    """faults 5.6: given the value itself in the context, then that counts; ``$$NAME`` is ``$NAME``."""
    site.model("m", n_gpus="0", env_vars={"A": "${REGION}", "B": "$$REGION"})
    site.k8s({"env_vars": {"A": "eu"}})
    assert (site.env()["A"], site.env()["B"]) == ("eu", "$$REGION")  # Kubernetes itself halves it


def test_what_a_user_gave_wins(site: Any) -> None:
    given = {"OMP_NUM_THREADS": "3", "MAD_MULTI_NODE_RUNNER": "mpirun $(NODE_RANK)", "NCCL_DEBUG": "OFF"}
    site.model("m", n_gpus="4", env_vars={"OMP_NUM_THREADS": "2"})
    site.k8s({**TWO_NODES, "docker_env_vars": given})
    env = site.env()
    assert (env["OMP_NUM_THREADS"], env["NCCL_DEBUG"]) == ("3", "OFF")
    # Text of a user is text: the API would have replaced this.
    assert env["MAD_MULTI_NODE_RUNNER"] == "mpirun $$(NODE_RANK)"


def test_an_address_of_the_user_wins(site: Any) -> None:
    site.model("m", n_gpus="4")
    site.k8s({**TWO_NODES, "docker_env_vars": {"MASTER_ADDR": "10.0.0.1"}})
    assert site.env()["MASTER_ADDR"] == "10.0.0.1"
    names = [entry["name"] for entry in site.container()["env"]]
    assert names.index("MASTER_ADDR") < names.index("MAD_MULTI_NODE_RUNNER")


def test_docker_options_that_pods_do_not_have(site: Any) -> None:
    options = "--privileged --shm-size 8G -v /mnt/a:/a:ro -e X=1"
    site.model("m", n_gpus="0", additional_docker_run_options=options)
    generated = site.k8s()
    assert "privileged" not in (site.out / FILES[1]).read_text()
    assert any("a pod gets variables, mounts and shm-size only" in text for text in generated.warnings)
    assert site.env()["X"] == "1"
    assert {"name": "host-0", "mountPath": "/a", "readOnly": True} in site.container()["volumeMounts"]
    (memory,) = [one["emptyDir"] for one in site.pod()["volumes"] if one["name"] == "shm"]
    assert memory == {"medium": "Memory", "sizeLimit": str(8 * 2**30)}


def test_tools_may_trace(site: Any) -> None:
    """Contract 16.4: privileges only when tools are selected."""
    tools = {"tools": {"t": {"cmd": "trace-it", "env_vars": {"TRACE": "1"}}}}
    (site.root / "scripts/common").mkdir()
    (site.root / "scripts/common/tools.json").write_text(json.dumps(tools))
    site.model("m", n_gpus="0").k8s({"tools": [{"name": "t"}]})
    assert site.container()["securityContext"]["capabilities"] == {"add": ["SYS_PTRACE"]}
    assert site.env()["TRACE"] == "1"
    phases = site.one("ConfigMap")["data"]["madengine-job.phases.head"]
    assert "trace-it bash run.sh" in phases
    site.k8s({"tools": [{"name": "t"}], "k8s": {"allow_privileged_profiling": False}})
    assert "securityContext" not in site.container()


def test_data_comes_from_a_claim(site: Any) -> None:
    (site.root / "data.json").write_text(
        json.dumps(
            {"images": {"nas": "x/y", "home": "/data/images"}, "more": {"local": "/z", "readwrite": "true"}}
        )
    )
    site.model("m", n_gpus="0", data="images, more").model("n", n_gpus="0", data="images")
    generated = site.k8s({"k8s": {"data_storage_class": "fast"}})
    validate(site, "1.30.0")
    mounts = [mount for mount in site.container()["volumeMounts"] if mount["name"] == "data"]
    assert mounts == [
        {"name": "data", "mountPath": "/data/images", "subPath": "images", "readOnly": True},
        {"name": "data", "mountPath": "/data_dlm_1", "subPath": "more"},
    ]
    claim = site.one("PersistentVolumeClaim", "madengine-shared-data")
    assert claim["spec"]["storageClassName"] == "fast"
    assert site.env()["MAD_DATAHOME"] == "/data/images,/data_dlm_1"
    assert "data.json" in site.one("ConfigMap")["data"]
    assert any("madengine-shared-data must hold" in text for text in generated.warnings)
    site.k8s({"k8s": {"data_pvc": "corpus"}})
    assert {"name": "data", "persistentVolumeClaim": {"claimName": "corpus"}} in site.pod()["volumes"]
    with pytest.raises(MadError, match="data 'nothing'"):
        site.model("x", n_gpus="0", data="nothing").k8s()


def test_data_names_stay_in_their_claim(site: Any) -> None:
    (site.root / "data.json").write_text(json.dumps({"../../etc": {"local": "/z"}}))
    site.model("m", n_gpus="0", data="../../etc")
    with pytest.raises(MadError, match="cannot be a directory"):
        site.k8s()


def test_models_that_would_not_run_are_left_out(site: Any) -> None:
    site.model("old", n_gpus="0", deprecated=True).model("new", n_gpus="0")
    site.manifest["summary"] = {"failed_builds": [{"model": "broken", "error": "no such file"}]}
    generated = site.k8s()
    assert [one["kind"] for one in site.documents()].count("Job") == 1
    assert site.env()["MAD_MODEL_NAME"] == "new"
    assert any(text.startswith("old is left out") for text in generated.warnings)
    assert any("broken is left out" in text and "no such file" in text for text in generated.warnings)


def test_nothing_to_run(site: Any) -> None:
    site.model("old", n_gpus="0", deprecated=True)
    with pytest.raises(ConfigError, match="no model that can run"):
        site.k8s()


def test_an_image_without_a_model(site: Any) -> None:
    site.model("m", n_gpus="0")
    site.manifest["built_models"] = {}
    with pytest.raises(ConfigError, match="has no model"):
        site.k8s()


def test_architecture_of_the_image(site: Any) -> None:
    image = {"gpu_architecture": "gfx942"}
    site.model("m", n_gpus="1", image=image).model("n", n_gpus="1", image=image, skip_gpu_arch="gfx942")
    generated = site.k8s()
    assert site.env()["MAD_SYSTEM_GPU_ARCHITECTURE"] == "gfx942"
    assert any("n is left out" in text and "gfx942" in text for text in generated.warnings)


def test_files_of_the_config_map(site: Any) -> None:
    site.model("m", n_gpus="0")
    directory = site.root / "scripts/m0"
    (directory / "sub").mkdir()
    (directory / "sub/tool").write_bytes(b"\x7fELF\x00\xff")
    (directory / "sub/tool").chmod(0o755)
    (directory / "a b'$(x)").write_text("x")
    (directory / "sub.tool").write_text("clashes with sub/tool")
    (directory / "link").symlink_to("run.sh")
    (directory / "__pycache__").mkdir()
    (directory / "__pycache__/x.pyc").write_bytes(b"x")
    site.k8s()
    validate(site, "1.29.0")
    config = site.one("ConfigMap")
    (volume,) = [one for one in site.pod()["volumes"] if one["name"] == "config"]
    items = {item["path"]: item for item in volume["configMap"]["items"]}
    assert {"control/start.sh", "control/pod.sh", "control/phases.head", "control/phases.body"} <= set(items)
    own = {path for path in items if path.startswith("tree/scripts/m0/")}
    names = {path.removeprefix("tree/scripts/m0/") for path in own}
    assert names == {"run.sh", "sub/tool", "a b'$(x)", "sub.tool", "link"}
    assert "tree/scripts/common/pre_scripts/run_rocenv_tool.sh" in items
    tool = items["tree/scripts/m0/sub/tool"]
    assert tool["mode"] == 0o755
    assert tool["key"] in config["binaryData"]
    keys = [*config["data"], *config["binaryData"]]
    assert len(keys) == len(set(keys))
    assert {item["key"] for item in items.values()} <= set(keys)


def test_links_out_of_the_repository(site: Any) -> None:
    site.model("m", n_gpus="0")
    (site.root / "scripts/m0/passwd").symlink_to("/etc/passwd")
    with pytest.raises(ConfigError, match="leads out of the repository"):
        site.k8s()


def test_a_config_map_that_is_too_large(site: Any) -> None:
    site.model("m", n_gpus="0")
    (site.root / "scripts/m0/weights.bin").write_bytes(b"\0" * (LARGEST_CONFIG_MAP // 4 * 3))
    with pytest.raises(ConfigError, match=r"weights\.bin"):
        site.k8s()
    assert not site.out.exists()


def test_the_same_input_gives_the_same_files(site: Any) -> None:
    site.model("m", n_gpus="2").model("n", n_gpus="0")
    site.k8s()
    first = {path.name: path.read_bytes() for path in site.out.iterdir()}
    site.k8s()
    assert first == {path.name: path.read_bytes() for path in site.out.iterdir()}


def test_the_host_is_not_asked(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Generating needs neither engine nor detection."""
    from pytest_madengine.context import detect
    from pytest_madengine.engine import client as engine

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("asked")

    monkeypatch.setattr(detect, "detect_host", refuse)
    monkeypatch.setattr(engine, "connect", refuse)
    site.model("m", n_gpus="2")
    for generate in (site.k8s, site.slurm, site.ansible):
        generate()


def test_yaml_keeps_texts_texts(site: Any) -> None:
    """Go reads some words as numbers that Python does not; all of them are quoted."""
    words = [
        "1e3",
        "08",
        "0o17",
        "y",
        "on",
        "~",
        "2024-01-01",
        "1_000",
        ".5",
        "null",
        "0x1F",
        "+1",
        "=",
        "NaN",
    ]
    site.model("m", n_gpus="0", env_vars={f"V{n}": word for n, word in enumerate(words)})
    site.k8s()
    text = (site.out / FILES[1]).read_text()
    for number, word in enumerate(words):
        assert site.env()[f"V{number}"] == word
        assert f'value: "{word}"' in text
    assert list(yaml.safe_load_all(text))


def test_many_models_share_what_is_equal(site: Any) -> None:
    """A hundred models fit into one ConfigMap."""
    for number in range(100):
        site.model(f"m{number}", n_gpus="0")
    site.k8s()
    jobs = [one for one in site.documents() if one["kind"] == "Job"]
    assert len(jobs) == 100
    assert jobs[-1]["metadata"]["name"] == "madengine-job-100"
    assert len(json.dumps(site.one("ConfigMap"))) < LARGEST_CONFIG_MAP // 2
