"""Generated files hold no secret: they say where each one comes from (contract 14.2, defects 26 and 31)."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from pytest_madengine.deploy.k8s.objects import JobSecrets
from pytest_madengine.deploy.k8s.secretscript import secret_script, variable_of
from pytest_madengine.errors import ConfigError, MadError

TOKEN = "hf-planted-secret-1"
PASSWORD = "pw-planted'$(id)\"-2"
SCRIPT = "k8s-madengine-secrets.sh"

FAKE_KUBECTL = """#!/usr/bin/env python3
import json, os, sys
record = {"argv": sys.argv[1:], "files": {}}
for word in sys.argv[1:]:
    if word.startswith("--from-file="):
        key, _, path = word.removeprefix("--from-file=").partition("=")
        with open(path, "rb") as stream:
            record["files"][key] = stream.read().decode()
if "apply" in sys.argv:
    record["stdin"] = sys.stdin.read()
else:
    print("kind: Secret")
with open(os.environ["RECORD"], "a") as stream:
    stream.write(json.dumps(record) + "\\n")
"""


@pytest.fixture
def secretive(site: Any) -> Any:
    """A model with secrets of every kind, on a host that knows their values."""
    site.environ |= {"HF_TOKEN": TOKEN, "MAD_SECRETS_X": "xx-planted-secret-3"}
    credential = {"VENDOR": {"username": "joe", "password": PASSWORD, "key": "kk-planted-secret-4"}}
    (site.root / "credential.json").write_text(json.dumps(credential))
    site.manifest["context"]["docker_env_vars"] = {
        "HUB": {"from_env": "HF_TOKEN"},
        "PASS": {"from_credential": "VENDOR.password"},
        "PLAIN": "text",
    }
    site.manifest["context"]["env_vars"] = {"COPY": {"from_env": "HF_TOKEN"}}
    return site.model(
        "m",
        n_gpus="0",
        cred="VENDOR",
        url="https://git.example.com/o/r",
        env_vars={"OTHER": {"from_env": "HF_TOKEN"}, "LEAKED": f"prefix {TOKEN}"},
    )


def all_text(site: Any) -> str:
    return "".join(path.read_text() for path in site.out.rglob("*") if path.is_file())


def assert_no_secret(text: str) -> None:
    for value in (TOKEN, PASSWORD, "xx-planted-secret-3", "kk-planted-secret-4"):
        for form in (value, json.dumps(value)[1:-1], base64.b64encode(value.encode()).decode()):
            assert form not in text


def test_defect_31_kubernetes(secretive: Any) -> None:
    """Defect 31: given secrets in context, entry, credential and environment / when Kubernetes files are
    rendered / then they hold references to a Secret and no value."""
    generated = secretive.k8s()
    assert_no_secret(all_text(secretive))
    assert_no_secret("\n".join((*generated.next_steps, *generated.warnings)))
    env = secretive.env()
    for name in (
        *("HUB", "PASS", "COPY", "OTHER", "LEAKED", "MAD_SECRETS_X"),
        *("VENDOR_PASSWORD", "VENDOR_KEY", "MAD_CLONE_PASSWORD"),
    ):
        assert env[name] == {"secretKeyRef": {"name": "madengine-job-runtime", "key": name}}
    assert env["VENDOR_USERNAME"] == "joe"  # not secret (contract 14.2)
    assert env["PLAIN"] == "text"
    assert secretive.pod()["imagePullSecrets"] == [{"name": "madengine-job-registry-pull"}]
    assert "madengine-secret-of:" not in all_text(secretive)
    said = "\n".join(generated.next_steps)
    assert "HF_TOKEN" in said
    assert "VENDOR_PASSWORD" in said


def test_defect_31_slurm(secretive: Any) -> None:
    generated = secretive.slurm()
    assert_no_secret(all_text(secretive))
    assert "HF_TOKEN" in "\n".join(generated.next_steps)
    assert "`HF_TOKEN`" in (secretive.out / "README.md").read_text()
    assert "madengine-secret-of:" not in all_text(secretive)


def test_defect_31_ansible(secretive: Any) -> None:
    secretive.ansible()
    assert_no_secret(all_text(secretive))
    assert "madengine-secret-of:" not in all_text(secretive)
    assert "HF_TOKEN" in all_text(secretive)


def test_secrets_of_the_command_line(site: Any) -> None:
    site.model("m", n_gpus="0")
    context = {"docker_env_vars": {"API_TOKEN": TOKEN}}
    site.k8s(context)
    assert site.env()["API_TOKEN"] == {"secretKeyRef": {"name": "madengine-job-runtime", "key": "API_TOKEN"}}
    for generate in (site.ansible, site.slurm):
        with pytest.raises(ConfigError, match="additional context holds a secret"):
            generate(context)
    assert_no_secret(all_text(site))


@pytest.mark.parametrize(
    ("fields", "context"),
    [
        ({"args": f"--token {TOKEN}"}, {}),
        ({"args": {"from_env": "HF_TOKEN"}}, {}),
        ({"url": {"from_env": "HF_TOKEN"}}, {}),
        ({}, {"pre_scripts": [{"path": "scripts/m0/run.sh", "args": TOKEN}]}),
        ({}, {"encapsulate_script": TOKEN}),
    ],
)
def test_secrets_where_no_reference_can_be(site: Any, fields: Any, context: Any) -> None:
    site.environ["HF_TOKEN"] = TOKEN
    site.model("m", n_gpus="0", **fields)
    for generate in (site.k8s, site.slurm):
        with pytest.raises(MadError) as caught:
            generate(context)
        assert "variable" in caught.value.hint
        assert TOKEN not in caught.value.message
    assert not site.out.exists()


def test_references_in_the_context_of_a_manifest(site: Any) -> None:
    site.manifest["context"]["encapsulate_script"] = {"from_env": "HF_TOKEN"}
    site.model("m", n_gpus="0")
    with pytest.raises(ConfigError, match="encapsulate_script is a secret"):
        site.k8s()


@pytest.mark.parametrize(
    ("secrets", "runtime", "pull"),
    [
        ({}, "madengine-job-runtime", ["madengine-job-registry-pull"]),
        ({"strategy": "existing", "runtime_secret_name": "ours"}, "ours", None),
        (
            {"strategy": "existing", "runtime_secret_name": "ours", "image_pull_secret_names": ["p1", "p2"]},
            "ours",
            ["p1", "p2"],
        ),
        ({"strategy": "omit"}, "", None),
    ],
)
def test_strategies(site: Any, secrets: dict[str, Any], runtime: str, pull: list[str] | None) -> None:
    site.environ["MAD_SECRETS_X"] = "xx-planted-secret-3"
    site.model("m", n_gpus="0")
    generated = site.k8s({"k8s": {"secrets": secrets}})
    if runtime:
        assert site.env()["MAD_SECRETS_X"]["secretKeyRef"]["name"] == runtime
    else:
        assert "MAD_SECRETS_X" not in site.env()
        assert any("MAD_SECRETS_X" in text for text in generated.warnings)
    if runtime == "ours":
        assert any("Secret ours must have the keys MAD_SECRETS_X" in text for text in generated.warnings)
        assert not (site.out / SCRIPT).exists()
    names = [one["name"] for one in site.pod().get("imagePullSecrets", [])]
    assert names == (pull or [])


def test_files_of_a_clone_over_ssh(site: Any) -> None:
    (site.root / "credential.json").write_text(
        json.dumps({"C": {"username": "git", "ssh_key_file": "keys/id'x"}})
    )
    site.model("m", n_gpus="0", cred="C", url="ssh://git@h/o/r.git")
    generated = site.k8s()
    (volume,) = [one for one in site.pod()["volumes"] if one["name"] == "secret-files"]
    assert volume["secret"]["secretName"] == "madengine-job-runtime"
    assert [item["path"] for item in volume["secret"]["items"]] == ["key", "known_hosts"]
    script = (site.out / SCRIPT).read_text()
    assert "ssh-key=MAD_SSH_KEY_FILE" in script
    assert "MAD_KNOWN_HOSTS_FILE=/home/user/.ssh/known_hosts" in script
    assert "MAD_SSH_KEY_FILE" in "\n".join(generated.next_steps)
    subprocess.run(["bash", "-n", site.out / SCRIPT], check=True)


def run_script(site: Any, tmp_path: Path, **variables: str) -> tuple[int, str, list[dict[str, Any]]]:
    fake = tmp_path / "bin/kubectl"
    fake.parent.mkdir(exist_ok=True)
    fake.write_text(FAKE_KUBECTL)
    fake.chmod(0o755)
    record = tmp_path / "record"
    record.unlink(missing_ok=True)
    environ = {"PATH": f"{fake.parent}:{os.environ['PATH']}", "RECORD": str(record), **variables}
    done = subprocess.run(
        ["bash", site.out / SCRIPT], env=environ, capture_output=True, text=True, check=False
    )
    lines = record.read_text().splitlines() if record.exists() else []
    return done.returncode, done.stderr, [json.loads(line) for line in lines]


def test_the_script_makes_secrets_without_showing_them(secretive: Any, tmp_path: Path) -> None:
    secretive.k8s()
    variables = {
        "HF_TOKEN": TOKEN,
        "MAD_SECRETS_X": "two\nlines\n",
        "VENDOR_PASSWORD": PASSWORD,
        "VENDOR_KEY": "",
        "LEAKED": "l",
        "MAD_REGISTRY_USERNAME": "u",
        "MAD_REGISTRY_PASSWORD": 'p":@',
    }
    code, errors, calls = run_script(secretive, tmp_path, **variables)
    assert code == 0, errors
    assert_no_secret(json.dumps([call["argv"] for call in calls]))
    created = [call for call in calls if "create" in call["argv"]]
    pull = next(call for call in created if "madengine-job-registry-pull" in call["argv"])
    login = json.loads(pull["files"][".dockerconfigjson"])["auths"]["registry.example.com:5000"]
    assert base64.b64decode(login["auth"]).decode() == 'u:p":@'
    assert "--type=kubernetes.io/dockerconfigjson" in pull["argv"]
    runtime = next(call for call in created if "madengine-job-runtime" in call["argv"])["files"]
    assert runtime["HUB"] == runtime["OTHER"] == runtime["COPY"] == TOKEN
    assert runtime["PASS"] == runtime["MAD_CLONE_PASSWORD"] == runtime["VENDOR_PASSWORD"] == PASSWORD
    assert runtime["MAD_SECRETS_X"] == "two\nlines\n"
    assert runtime["VENDOR_KEY"] == ""
    assert all("madengine" in call["argv"] for call in created)  # the namespace
    assert [call["stdin"] for call in calls if "apply" in call["argv"]] == ["kind: Secret\n"] * 2


def test_the_script_names_what_is_missing(secretive: Any, tmp_path: Path) -> None:
    secretive.k8s()
    code, errors, calls = run_script(secretive, tmp_path, VENDOR_PASSWORD="x", VENDOR_KEY="x")
    assert code != 0
    assert "is not set: Secret madengine-job-runtime needs it" in errors
    assert not [call for call in calls if "madengine-job-runtime" in call["argv"]]


def test_without_a_login_images_are_pulled_anonymously(site: Any, tmp_path: Path) -> None:
    site.model("m", n_gpus="0").k8s()
    code, errors, calls = run_script(site, tmp_path)
    assert (code, calls) == (0, [])
    assert "no Secret madengine-job-registry-pull" in errors


@pytest.mark.parametrize(
    ("key", "source", "variable"),
    [
        ("HUB", "env:HF_TOKEN", "HF_TOKEN"),
        ("PASS", "credential:VENDOR.password", "VENDOR_PASSWORD"),
        ("PASS", "credential:reg.example.com:5000.password", "reg_example_com_5000_PASSWORD"),
        ("LEAKED", "", "LEAKED"),
        ("a.b-c", "", "a_b_c"),
        ("1x", "", "_1x"),
        ("HUB", "env:not a name", "HUB"),
    ],
)
def test_variables_of_secrets(key: str, source: str, variable: str) -> None:
    assert variable_of(key, source) == variable


def test_names_in_the_script_are_quoted(tmp_path: Path) -> None:
    hostile = "$(touch hacked)"
    made = secret_script(
        [JobSecrets("j", hostile, {"K": ""}, {"ssh-key": "a'b $(touch hacked)"}, "p")], hostile
    )
    assert made is not None
    script = tmp_path / "s.sh"
    script.write_text(made.text)
    environ = {"PATH": os.environ["PATH"], "K": "v"}
    subprocess.run(["bash", script], cwd=tmp_path, env=environ, capture_output=True, check=False)
    assert not (tmp_path / "hacked").exists()
    assert secret_script([JobSecrets("j")], "n") is None


def test_unknown_credentials(site: Any) -> None:
    site.model("m", n_gpus="0", cred="NOBODY", url="https://git.example.com/o/r")
    generated = site.k8s()
    assert site.env()["MAD_CLONE_PASSWORD"]["secretKeyRef"]["key"] == "MAD_CLONE_PASSWORD"
    assert any("NOBODY is not in credential.json" in text for text in generated.warnings)


def test_manifests_of_the_predecessor_lose_their_secrets(site: Any) -> None:
    """v1 and v2 stored values: they do not reach the ConfigMap."""
    del site.manifest["schema_version"]
    site.manifest["context"]["docker_env_vars"] = {"SOME_TOKEN": TOKEN}
    site.model("m", n_gpus="0", env_vars={"ANOTHER_SECRET": TOKEN}).k8s()
    assert_no_secret(all_text(site))
    stored = yaml.safe_load(site.one("ConfigMap")["data"]["build_manifest.json"])
    assert stored["context"]["docker_env_vars"] == {"SOME_TOKEN": {"from_env": "SOME_TOKEN"}}
    assert site.env()["ANOTHER_SECRET"]["secretKeyRef"]["key"] == "ANOTHER_SECRET"
