"""The build manifest: written, read, referenced secrets (contract 9.2, 9.3)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.errors import ConfigError, CredentialError
from pytest_madengine.manifest.reader import Manifest, parse_manifest, read_manifest
from pytest_madengine.manifest.references import References, has_references, resolve
from pytest_madengine.manifest.writer import (
    BuildReport,
    Head,
    build_summary,
    deployment_config,
    make_manifest,
    manifest_context,
    write_manifest,
)
from pytest_madengine.secrets import Redactor, Secret

SCHEMA = Path(__file__).parents[3] / "docs/reference/build_manifest.schema.json"
ID = "sha256:" + "1" * 64
DIGEST = "sha256:" + "2" * 64
PATH = Path("m.json")


def image(**fields: Any) -> dict[str, Any]:
    return {
        "model": "dummy",
        "docker_image": "ci-dummy_dummy.ubuntu.amd",
        "dockerfile": "docker/dummy.ubuntu.amd.Dockerfile",
        "base_docker": "debian",
        "docker_sha": "",
        "build_duration": 1.5,
        "build_command": "docker build .",
        "log_file": "dummy.build.live.log",
        "gpu_vendor": "AMD",
        "gpu_architecture": "",
        "image_id": ID,
        **fields,
    }


def report(item: str = "dummy", **fields: Any) -> BuildReport:
    values: dict[str, Any] = {
        "model": item.partition("[")[0],
        "image": image(),
        "entry": {"name": item.partition("[")[0], "args": ""},
        **fields,
    }
    return BuildReport(item, **values)


def head(**fields: Any) -> Head:
    values: dict[str, Any] = {
        "generator": {"name": "pytest-madengine", "version": "1"},
        "context": manifest_context({}),
        "deployment": deployment_config({}, "docker"),
        **fields,
    }
    return Head(**values)


def validated(manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest, once it conforms to the published schema."""
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(manifest)
    return manifest


def parsed(manifest: dict[str, Any]) -> Manifest:
    return parse_manifest(json.loads(json.dumps(manifest)), PATH)


# ---- writing ------------------------------------------------------------------------------------------


def test_keys_of_schema_3() -> None:
    """Contract 9.2, top-level keys."""
    pushed = image(registry="r:1", registry_image="r:1/x", registry_digest=DIGEST)
    reports = [
        report(image=pushed, entry={"name": "dummy", "cred": "B"}),
        report("b", error="boom", image={}, intended_image="ci-b", entry={"name": "b", "cred": "A"}),
        report(
            "c",
            image=image(docker_image="ci-c", push_failed=True, push_error="refused", registry_image=""),
            push_error="refused",
            intended_reference="r:1/ci-c",
        ),
    ]
    manifest = validated(make_manifest(head(registry="r:1"), reports))
    assert manifest["schema_version"] == 3
    assert (
        list(manifest["built_images"])
        == list(manifest["built_models"])
        == [
            "ci-dummy_dummy.ubuntu.amd",
            "ci-c",
        ]
    )
    assert manifest["credentials_required"] == ["A", "B"]
    assert manifest["registry"] == "r:1"
    assert [entry["model"] for entry in manifest["summary"]["failed_builds"]] == ["b"]
    assert manifest["summary"]["successful_pushes"][0]["registry_digest"] == DIGEST
    assert manifest["push_failures"] == [
        {"image": "ci-c", "intended_registry_image": "r:1/ci-c", "error": "refused"}
    ]


def test_keys_that_are_absent_when_they_do_not_apply() -> None:
    """Contract 9.2: ``registry``, ``push_failures``, ``local_image_*`` only when they apply."""
    manifest = validated(make_manifest(head(), []))
    assert {"registry", "push_failures", "local_image_mode", "local_image_name"}.isdisjoint(manifest)
    local = validated(make_manifest(head(local_image="busybox"), []))
    assert (local["local_image_mode"], local["local_image_name"]) == (True, "busybox")


def test_defect_5_parametrisations_that_share_an_image() -> None:
    """Defect 5: given ``m:bs=1,m:bs=2`` / when the manifest is written / then it has two entries."""
    reports = [
        report(f"m[bs={n}]", parameters={"bs": n}, entry={"name": "m", "args": f" --bs {n}"}) for n in "12"
    ]
    manifest = validated(make_manifest(head(), reports))
    name = "ci-dummy_dummy.ubuntu.amd"
    assert list(manifest["built_models"]) == [name, f"{name}[bs=2]"]
    assert [entry.parameters for entry in parsed(manifest).entries] == [{"bs": "1"}, {"bs": "2"}]
    third = make_manifest(head(), [*reports, reports[1]])
    assert len(third["built_images"]) == 3


def test_key_with_a_given_image() -> None:
    """Contract 9.2: ``local-<model>``."""
    manifest = make_manifest(head(local_image="x"), [report(key="local-dummy")])
    assert list(manifest["built_images"]) == ["local-dummy"]


def test_summary_counts_a_shared_build_once() -> None:
    """Contract 9.2, ``summary``; durations in seconds."""
    failed = report("b", image={}, error="boom", build_duration=2.0)
    summary = build_summary([report("a"), report("a2"), failed])
    assert summary["total_build_time"] == 3.5
    assert len(summary["successful_builds"]) == 2
    skipped = build_summary([report("a", image=image(build_status="SKIPPED", build_duration=0))])
    assert skipped["successful_builds"] == []


def test_context_of_a_manifest() -> None:
    """Contract 9.2, ``context`` and ``deployment_config``."""
    given = {
        "docker_env_vars": {"A": "1"},
        "tools": [{"name": "t"}],
        "host_os": "HOST_UBUNTU",
        "slurm": {"partition": "p"},
        "model_args": "-x",
    }
    context = manifest_context(given)
    assert context["docker_env_vars"] == {"A": "1"}
    assert (context["gpu_vendor"], context["docker_mounts"], context["model_args"]) == ("", {}, "-x")
    assert {"host_os", "slurm"}.isdisjoint(context)
    assert deployment_config(given, "slurm") == {"target": "slurm", "slurm": {"partition": "p"}}


def test_written_atomically_with_indent_2(tmp_path: Path) -> None:
    path = tmp_path / "out/m.json"
    write_manifest(path, make_manifest(head(), [report()]))
    assert path.read_text().startswith('{\n  "schema_version": 3,\n')
    assert list(path.parent.iterdir()) == [path]
    assert read_manifest(path).entries[0].image.image_id == ID


def test_a_report_survives_its_record() -> None:
    first = report(parameters={"flag": None, "bs": "1"}, push_error="x")
    assert BuildReport.from_dict(json.loads(json.dumps({**first.to_dict(), "newer": 1}))) == first
    assert first.params_id == "flag:bs=1"


# ---- reading ------------------------------------------------------------------------------------------

V1: dict[str, Any] = {
    "built_images": {
        "ci-dummy_dummy.ubuntu.amd": {
            "docker_image": "ci-dummy_dummy.ubuntu.amd",
            "dockerfile": "docker/dummy.ubuntu.amd.Dockerfile",
            "base_docker": "rocm/pytorch",
            "docker_sha": "",
            "build_duration": 12.5,
            "build_command": "docker build ...",
            "log_file": "dummy.live.log",
            "registry_image": "localhost:5000/ci-dummy_dummy.ubuntu.amd",
        }
    },
    "built_models": {
        "ci-dummy_dummy.ubuntu.amd": {
            "name": "dummy",
            "dockerfile": "docker/dummy",
            "scripts": "scripts/d/run.sh",
        }
    },
    "context": {
        "docker_env_vars": {"A": "1", "MAD_SYSTEM_NGPUS": "8", "MAD_GPU_VENDOR": "AMD"},
        "docker_mounts": {},
        "docker_build_arg": {},
        "gpu_vendor": "AMD",
        "docker_gpus": "",
    },
    "registry": "localhost:5000",
}


def test_v1_is_read() -> None:
    """Contract 9.3: v1 files; facts of the build host are not taken for those of this one."""
    manifest = parse_manifest(V1, PATH)
    (entry,) = manifest.entries
    assert (manifest.schema_version, manifest.registry) == (0, "localhost:5000")
    assert entry.model["name"] == "dummy"
    assert entry.image.registry_image == "localhost:5000/ci-dummy_dummy.ubuntu.amd"
    assert (entry.image.image_id, entry.image.registry_digest, entry.image.build_duration) == ("", "", 12.5)
    assert manifest.context["docker_env_vars"] == {"A": "1"}


def test_v2_is_read() -> None:
    """Contract 9.3: v2 files with deployment block, local image and failed builds."""
    v2 = {
        **V1,
        "deployment_config": {
            "target": "slurm",
            "slurm": {"partition": "p"},
            "env_vars": {"E": "1"},
            "debug": False,
        },
        "summary": {"failed_builds": ["gone", {"model": "b", "error": "boom"}, 7, {}]},
        "local_image_mode": True,
        "local_image_name": "rocm/vllm:1",
        "built_images": {
            "local-dummy": {"model": "dummy", "dockerfile": "N/A (local image mode)", "build_duration": 0}
        },
        "built_models": {},
        "unknown": {"kept": 1},
    }
    manifest = parse_manifest(v2, PATH)
    (entry,) = manifest.entries
    assert (entry.image.docker_image, entry.image.given, entry.image.dockerfile) == ("rocm/vllm:1", True, "")
    assert entry.model == {}
    assert manifest.context["slurm"] == {"partition": "p"}
    assert manifest.context["env_vars"] == {"E": "1"}
    assert [(f.model, f.error) for f in manifest.failed] == [("gone", ""), ("b", "boom")]
    assert manifest.raw["unknown"] == {"kept": 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"built_images": None}, "built_images must be an object"),
        ({"context": []}, "context must be an object"),
        ({"schema_version": 4}, "schema_version 4 is not known"),
        ({"schema_version": "3"}, "schema_version '3' is not known"),
        ({"registry": 5}, "registry must be text"),
        ({"deployment_config": []}, "deployment_config must be an object"),
        ({"built_images": {"x": 1}}, "built_images['x'] must be an object"),
        ({"built_images": {"x": {"docker_image": 1}}}, "built_images['x']: docker_image must be text"),
        ({"built_images": {"x": {}}, "built_models": {"x": []}}, "built_models['x'] must be an object"),
    ],
)
def test_wrong_values_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_manifest({**V1, **change}, PATH)
    assert message in caught.value.message
    assert "m.json" in caught.value.message


def test_missing_keys_are_named() -> None:
    """Contract 9.3: required keys, missing ones are named."""
    with pytest.raises(ConfigError, match="required keys are missing: built_models, context"):
        parse_manifest({"built_images": {}}, PATH)


@pytest.mark.parametrize("text", ["", "[1]", "{", "null", "[" * 100_000, "\udcff"])
def test_files_that_are_no_manifest(tmp_path: Path, text: str) -> None:
    path = tmp_path / "m.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match=r"m\.json"):
        read_manifest(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a file"):
        read_manifest(tmp_path / "m.json")


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
block_keys = st.sampled_from(["docker_image", "build_duration", "gpu_vendor", "prebuilt", "dockerfile"])
keys = st.sampled_from([*V1, "summary", "schema_version", "local_image_mode", "deployment_config"])
blocks = st.dictionaries(
    st.text(max_size=4), st.dictionaries(block_keys, json_values, max_size=3), max_size=2
)


@given(raw=st.dictionaries(keys, json_values | blocks))
def test_anything_is_a_manifest_or_a_usage_error(raw: dict[str, Any]) -> None:
    for value in (raw, {**V1, **raw}):
        try:
            manifest = parse_manifest(value, PATH)
        except ConfigError:
            continue
        assert len(manifest.entries) == len(value["built_images"])


# ---- secrets ------------------------------------------------------------------------------------------


def test_defect_31_secrets_are_written_as_references() -> None:
    """Defect 31: given secrets in context and entry / when a manifest is made / then it holds references."""
    environ = {"MAD_SECRETS_X": "s3cret-x", "HF_TOKEN": "hf_0123456789"}
    credentials = {
        "GIT": {"username": "u", "password": Secret("git-pass")},
        "r.io": {"password": Secret("r-pass")},
    }
    redactor = Redactor(["s3cret-x", "hf_0123456789", "git-pass", "r-pass", "lonely-secret"])
    references = References(environ, credentials, redactor)
    tree = {
        "docker_env_vars": {
            "MAD_SECRETS_X": Secret("s3cret-x"),
            "TOKEN_COPY": "hf_0123456789",
            "GIT_PW": Secret("git-pass"),
            "R": "r-pass",
            "API_KEY": "lonely-secret",
            "URL": "https://me:url-pass@host/x",
            "PLAIN": "value",
            "MAX_TOKENS": "1024",
        },
        "args": "--token lonely-secret",
        "list": ["lonely-secret", 5, {"from_env": "KEPT"}],
    }
    written = references.replace(tree)
    assert written["docker_env_vars"] == {
        "MAD_SECRETS_X": {"from_env": "MAD_SECRETS_X"},
        "TOKEN_COPY": {"from_env": "HF_TOKEN"},
        "GIT_PW": {"from_credential": "GIT.password"},
        "R": {"from_credential": "r.io.password"},
        "API_KEY": {"from_env": "API_KEY"},
        "URL": {"from_env": "URL"},
        "PLAIN": "value",
        "MAX_TOKENS": "1024",
    }
    assert written["args"] == {"from_env": "MAD_SECRETS_ARGS"}
    assert written["list"] == [{"from_env": "MAD_SECRETS_LIST"}, 5, {"from_env": "KEPT"}]
    text = json.dumps(written)
    assert not any(secret in text for secret in ("s3cret", "hf_0", "-pass", "lonely"))
    assert len(references.notes) == 4
    assert has_references(written)
    assert not has_references(tree["docker_env_vars"])


def test_references_are_resolved_where_they_are_used() -> None:
    """Contract 9.2: a reference is resolved again at run time; a missing one is an error naming it."""
    credentials = {"GIT": {"password": "p"}, "r.io": {"deep": {"key": Secret("k")}, "password": Secret("q")}}
    tree = {
        "a": {"from_env": "A"},
        "b": [{"from_credential": "GIT.password"}, {"from_credential": "r.io.password"}],
        "c": 1,
    }
    assert resolve(tree, {"A": "1"}, credentials, "x") == {
        "a": Secret("1"),
        "b": [Secret("p"), Secret("q")],
        "c": 1,
    }
    with pytest.raises(CredentialError, match=r"m\.a needs the environment variable A"):
        resolve(tree, {}, credentials, "m")
    with pytest.raises(CredentialError, match=r"needs GIT\.password of credential\.json"):
        resolve(tree, {"A": "1"}, {}, "m")
    nested = {"from_credential": "X.deep.key"}
    assert resolve(nested, {}, {"X": {"deep": {"key": "v"}}}, "m") == Secret("v")
