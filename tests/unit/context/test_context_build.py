from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.context.build import build_context, detection_hints, given_values
from pytest_madengine.context.detect import detect_host, simulated_host
from pytest_madengine.context.merge import copy_tree
from pytest_madengine.context.types import Context, Gpu, HostFacts
from pytest_madengine.errors import ContextError
from pytest_madengine.secrets import Secret

CPU = HostFacts(host_os="HOST_UBUNTU", numa_balancing="0")
AMD = HostFacts(
    host_os="HOST_UBUNTU",
    numa_balancing="0",
    gpu_vendor="AMD",
    gpus=(Gpu(0, "0000:05:00.0", 136), Gpu(1, "0000:26:00.0", 128)),
    gpu_architecture="gfx942",
    gpu_product_name="AMD Instinct MI300X",
    runtime_version="6.4",
    driver_version="6.12.12",
    warnings=("a warning of detection",),
)


def build(
    string: str = "", facts: HostFacts = CPU, environ: dict[str, str] | None = None, **more: Any
) -> Context:
    return build_context(string=string, environ=environ or {}, facts=facts, **more)


@pytest.fixture
def file(tmp_path: Path):
    def write(value: Any) -> Path:
        path = tmp_path / "ctx.json"
        path.write_text(value if isinstance(value, str) else json.dumps(value))
        return path

    return write


@pytest.mark.parametrize(
    "string, in_file, path, expected",
    [
        ('{"gpu_vendor": "amd"}', None, "gpu_vendor", "AMD"),
        ("{'guest_os': 'UBUNTU'}", None, "guest_os", "UBUNTU"),
        ('{"debug": true}', None, "debug", True),
        ("{'debug': True}", None, "debug", True),
        (
            '{"docker_env_vars": {"A": "1"}}',
            {"docker_env_vars": {"A": "0", "B": "2"}},
            "docker_env_vars.A",
            "1",
        ),
        (
            '{"docker_env_vars": {"A": "1"}}',
            {"docker_env_vars": {"A": "0", "B": "2"}},
            "docker_env_vars.B",
            "2",
        ),
        ('{"tools": [{"name": "B"}]}', {"tools": [{"name": "A"}]}, "tools", [{"name": "B"}]),
        ('{"docker_build_arg": {"N": 4}}', None, "docker_build_arg.N", "4"),
    ],
)
def test_vectors_of_sources(file, string, in_file, path, expected):
    """Contract 7.1, table of strings and files."""
    context = build(string, file=file(in_file) if in_file else None)
    value: Any = context.values
    for key in path.split("."):
        value = value[key]
    assert value == expected
    assert context.warnings == ()


@pytest.mark.parametrize("string", ["[1]", "{", "__import__('os')"])
def test_vectors_of_wrong_strings(string):
    """Contract 7.1: exit 4."""
    with pytest.raises(ContextError, match=r"^additional context string"):
        build(string)


def test_vector_of_a_misspelt_key():
    """Contract 7.1: warning: did you mean `docker_env_vars`?"""
    context = build('{"docker_env_var": {}}')
    assert context.warnings == (
        "additional context string: docker_env_var is unknown: did you mean docker_env_vars?",
    )
    assert context.get("docker_env_var") == {}


def test_errors_of_a_file_name_the_file(file):
    path = file({"gpu_vendor": "TPU"})
    with pytest.raises(ContextError) as error:
        build(file=path)
    assert error.value.message.startswith(f"additional context file {path}: gpu_vendor 'TPU'")
    with pytest.raises(ContextError, match=r"absent\.json cannot be read"):
        build(file=path.parent / "absent.json")
    with pytest.raises(ContextError, match="is not JSON"):
        build(file=file("{'a': 1}"))


def test_ranks_of_all_sources(file):
    """Contract 7.1: string > file > manifest > MAD_SECRETS > tools.json > detection; leaves have origins."""
    names = ["MAD_SECRETS_1", "MAD_SECRETS_2", "MAD_SECRETS_3", "MAD_SECRETS_4", "MAD_SECRETS_5"]
    context = build(
        json.dumps({"docker_env_vars": {names[0]: "string"}}),
        file=file({"docker_env_vars": dict.fromkeys(names[:2], "file")}),
        manifest={"docker_env_vars": dict.fromkeys(names[:3], "manifest")},
        environ={**dict.fromkeys(names[:4], "env"), "OTHER": "x"},
        tools_docker={"environment": {**dict.fromkeys(names, "tools"), "MAD_SYSTEM_NGPUS": "9"}},
        facts=AMD,
    )
    variables = context.values["docker_env_vars"]
    assert [variables[name].reveal() for name in names] == ["string", "file", "manifest", "env", "tools"]
    assert variables["MAD_SYSTEM_NGPUS"] == "9"
    assert "OTHER" not in variables
    origins = [context.origin(f"docker_env_vars.{name}") for name in (*names, "MAD_SYSTEM_NGPUS")]
    assert origins == ["string", "file:ctx.json", "manifest", f"env:{names[3]}", "tools", "tools"]
    assert context.origin("docker_gpus") == "detected:amd"


def test_detected_keys_of_a_gpu_host():
    """Contract 7.3."""
    context = build(facts=AMD)
    assert context.values == {
        "host_os": "HOST_UBUNTU",
        "numa_balancing": "0",
        "ctx_test": "None",
        "gpu_vendor": "AMD",
        "docker_gpus": "0-1",
        "gpu_renderDs": [136, 128],
        "docker_build_arg": {"MAD_SYSTEM_GPU_ARCHITECTURE": "gfx942"},
        "docker_env_vars": {
            "MAD_GPU_VENDOR": "AMD",
            "MAD_SYSTEM_NGPUS": "2",
            "MAD_SYSTEM_GPU_ARCHITECTURE": "gfx942",
            "MAD_SYSTEM_GPU_PRODUCT_NAME": "AMD Instinct MI300X",
            "MAD_SYSTEM_HIP_VERSION": "6.4",
        },
    }
    assert not context.vendor_given
    assert context.warnings == ("a warning of detection",)
    assert all(origin.startswith("detected:") for origin in context.origins.values())


def test_detected_keys_of_a_host_without_gpu():
    """Contract 7.5 and 7.3: NGPUS is `0`, no docker_gpus, no build argument; the vendor is detected."""
    context = build()
    assert context.gpu_vendor == "CPU"
    assert not context.vendor_given
    assert context.values["docker_env_vars"] == {
        "MAD_GPU_VENDOR": "CPU",
        "MAD_SYSTEM_NGPUS": "0",
        "MAD_SYSTEM_GPU_ARCHITECTURE": "",
        "MAD_SYSTEM_GPU_PRODUCT_NAME": "",
        "MAD_SYSTEM_HIP_VERSION": "",
    }
    assert context.values["docker_build_arg"] == {}
    assert "docker_gpus" not in context.values
    assert "gpu_renderDs" not in context.values
    assert "guest_os" not in context.values


def test_cpu_host_keeps_a_user_count():
    """Contract 7.5: `0` unless set in `docker_env_vars`."""
    context = build('{"docker_env_vars": {"MAD_SYSTEM_NGPUS": 2}}')
    assert context.values["docker_env_vars"]["MAD_SYSTEM_NGPUS"] == "2"


@pytest.mark.parametrize("vendor", ["CPU", "AMD", "NVIDIA", "INTEL"])
def test_a_vendor_given_by_the_user_is_always_compared(vendor):
    """Contract 7.5, Defect 66: a given vendor on a host without GPU is kept and is no error."""
    context = build(json.dumps({"gpu_vendor": vendor}))
    assert context.vendor_given
    assert context.gpu_vendor == vendor
    assert context.values["docker_env_vars"]["MAD_GPU_VENDOR"] == vendor
    assert context.values["docker_env_vars"]["MAD_SYSTEM_NGPUS"] == "0"
    assert context.warnings == ()


@pytest.mark.parametrize("vendor, warnings", [("NVIDIA", 1), ("CPU", 0)])
def test_a_given_vendor_overrides_gpus_of_another(vendor, warnings):
    context = build(json.dumps({"gpu_vendor": vendor}), AMD)
    assert context.facts.gpus == ()
    assert context.values["docker_env_vars"]["MAD_SYSTEM_GPU_ARCHITECTURE"] == ""
    assert "docker_gpus" not in context.values
    assert len(context.warnings) == warnings + 1


def test_simulated_gpus_take_the_given_vendor():
    facts = simulated_host("2", CPU)
    context = build('{"gpu_vendor": "NVIDIA"}', facts)
    assert context.values["docker_gpus"] == "0-1"
    assert context.facts.gpu_vendor == "NVIDIA"
    assert context.values["docker_env_vars"]["MAD_SYSTEM_GPU_ARCHITECTURE"] == ""
    assert build(facts=facts).origin("docker_gpus") == "detected:simulated"
    assert build('{"gpu_vendor": "CPU"}', facts).facts.gpus == ()


def test_user_values_win_over_detected_ones():
    """Contract 7.1: detection fills only absent keys."""
    given = {
        "docker_gpus": "1",
        "gpu_renderDs": [7],
        "host_os": "HOST_X",
        "ctx_test": "2",
        "MAD_ROCM_PATH": "/r",
    }
    context = build(json.dumps(given), AMD)
    assert {key: context.values[key] for key in given} == given
    assert context.origin("docker_gpus") == "string"


def test_unknown_render_minors_give_no_list():
    from dataclasses import replace

    facts = replace(AMD, gpus=(Gpu(0, "a", 128), Gpu(1, "b", None)))
    assert "gpu_renderDs" not in build(facts=facts).values


def test_recorded_host_end_to_end(recorded):
    facts = detect_host(recorded("mi300x"), None)
    context = build(facts=facts)
    assert context.values["docker_gpus"] == "0-7"
    assert context.values["gpu_renderDs"] == [136, 128, 152, 144, 168, 160, 184, 176]
    assert any("NUMA" in text for text in context.warnings)


def test_secrets_of_the_host_are_never_printed():
    """Contract 7.1 rank 3, 14.2: copied into both objects under their own name, typed as secrets."""
    environ = {
        "MAD_SECRETS_HF": "hunter22",
        "X_MAD_SECRETS_Y": "hunter23",
        "BASH_FUNC_MAD_SECRETS%%": "() { :; }",
    }
    given = '{"docker_env_vars": {"HF_TOKEN": "hunter24", "PLAIN": "x"}}'
    context = build(given, environ=environ)
    for key in ("docker_env_vars", "docker_build_arg"):
        assert context.values[key]["MAD_SECRETS_HF"] == Secret("hunter22")
        assert context.values[key]["X_MAD_SECRETS_Y"] == Secret("hunter23")
    assert context.values["docker_env_vars"]["HF_TOKEN"] == Secret("hunter24")
    assert context.values["docker_env_vars"]["PLAIN"] == "x"
    assert "hunter" not in repr(context)
    assert len(context.warnings) == 1
    assert "is not a valid variable name" in context.warnings[0]


@pytest.mark.parametrize(
    "docker, words",
    [
        ({"build_args": {"A B": "1"}}, "tools.json: docker: build_args: 'A B' is not a valid variable name"),
        ({"environment": []}, "tools.json: docker: environment must be an object"),
        ([], None),
        (["x"], "tools.json: docker must be an object, not a list"),
    ],
)
def test_wrong_tools_docker(docker, words):
    if words is None:
        assert build(tools_docker=docker).warnings == ()
        return
    with pytest.raises(ContextError) as error:
        build(tools_docker=docker)
    assert words in error.value.message


def test_tools_docker_gives_defaults():
    """Contract 11.1: lowest-precedence build arguments and container variables."""
    docker = {"build_args": {"A": "1"}, "environment": {"B": 2}, "volumes": {}}
    context = build('{"docker_env_vars": {"B": "3"}}', tools_docker=docker)
    assert context.values["docker_build_arg"] == {"A": "1"}
    assert context.values["docker_env_vars"]["B"] == "3"
    assert context.origin("docker_build_arg.A") == "tools"
    assert context.warnings == ("tools.json: docker: volumes is unknown (known: build_args, environment)",)


def test_manifest_context_is_restored_and_overridden():
    """Defect 45: given a manifest with env, mounts, tools / run / all applied; command line wins."""
    manifest = {
        "docker_env_vars": {"A": "1", "B": "2"},
        "docker_mounts": {"/data": "/mnt"},
        "docker_build_arg": {},
        "gpu_vendor": "AMD",
        "guest_os": "",
        "docker_gpus": "0-1",
        "tools": [{"name": "rpd"}],
        "multi_node_args": {"NNODES": 2},
        "pre_scripts": None,
    }
    context = build('{"docker_env_vars": {"A": "9"}}', manifest=manifest)
    assert context.values["docker_env_vars"]["A"] == "9"
    assert context.values["docker_env_vars"]["B"] == "2"
    assert context.values["docker_gpus"] == "0-1"
    assert context.values["tools"] == [{"name": "rpd"}]
    assert context.values["multi_node_args"] == {"NNODES": 2}
    assert "guest_os" not in context.values
    assert "pre_scripts" not in context.values
    assert context.gpu_vendor == "AMD"
    assert not context.vendor_given
    assert context.warnings == ()


def test_references_of_a_manifest():
    """Contract 9.2: resolved at run time; a missing one stays a reference, so that its users can name it."""
    references = {
        "A": {"from_env": "MAD_SECRETS_A"},
        "B": {"from_env": "ABSENT"},
        "C": {"from_credential": "hf.token"},
    }
    context = build(manifest={"docker_env_vars": references}, environ={"MAD_SECRETS_A": "hunter22"})
    variables = context.values["docker_env_vars"]
    assert variables["A"] == Secret("hunter22")
    assert variables["B"] == {"from_env": "ABSENT"}
    assert variables["C"] == {"from_credential": "hf.token"}


@pytest.mark.parametrize(
    "manifest, words",
    [({"gpu_vendor": 1}, "context of the manifest: gpu_vendor must be text"), ([], "must be an object")],
)
def test_wrong_manifests(manifest, words):
    with pytest.raises(ContextError, match=words):
        build(manifest=manifest)


def test_given_values_leave_detection_behind():
    context = build('{"docker_env_vars": {"A": "1"}, "tools": [{"name": "x"}], "slurm": {}}', AMD)
    given = given_values(context)
    assert given == {"docker_env_vars": {"A": "1"}, "tools": [{"name": "x"}], "slurm": {}}
    given["tools"][0]["name"] = "y"
    assert context.values["tools"] == [{"name": "x"}]


def test_hints_for_detection(file):
    path = file({"gpu_vendor": "amd", "MAD_ROCM_PATH": "/a"})
    hints = detection_hints(string='{"MAD_ROCM_PATH": "/b"}', file=path)
    assert (hints.gpu_vendor, hints.rocm_path) == ("AMD", "/b")
    assert detection_hints() == detection_hints(string=" ")
    with pytest.raises(ContextError):
        detection_hints(string="[")


def test_origin_of_a_parent_and_of_nothing():
    context = build('{"tools": [{"name": "x"}]}')
    assert context.origin("tools.0.name") == "string"
    assert context.origin("absent.key") == "default"


NAMES = st.sampled_from(["A", "B", "MAD_SYSTEM_NGPUS"])
VARIABLES = st.dictionaries(NAMES, st.text(alphabet="ab1", max_size=3))


@given(VARIABLES, VARIABLES, VARIABLES)
def test_inputs_are_never_changed_or_shared(in_manifest, in_tools, in_string):
    """Defect 52: given lists and objects in a context, when it is built, then the sources are unchanged."""
    manifest = {
        "docker_env_vars": in_manifest,
        "tools": [{"name": "x", "env_vars": in_tools}],
        "k8s": {"a": [1]},
    }
    tools = {"environment": in_tools}
    before = copy.deepcopy((manifest, tools))
    first = build(json.dumps({"docker_env_vars": in_string}), manifest=manifest, tools_docker=tools)
    second = build(json.dumps({"docker_env_vars": in_string}), manifest=manifest, tools_docker=tools)
    untouched = copy_tree(second.values)
    first.values["tools"].append("x")
    first.values["tools"][0].clear()
    first.values["k8s"]["a"].append(2)
    first.values["docker_env_vars"].clear()
    assert (manifest, tools) == before
    assert second.values == untouched
    expected = {**in_tools, **in_manifest, **in_string}
    assert {name: second.values["docker_env_vars"][name] for name in expected} == expected
