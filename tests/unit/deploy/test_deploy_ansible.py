"""``generate ansible``: what the playbook says; tests/e2e runs it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from pytest_madengine.errors import ConfigError


class Loader(yaml.SafeLoader):
    """Reads ``!unsafe`` texts as ``Unsafe``."""


class Unsafe(str):
    pass


Loader.add_constructor("!unsafe", lambda loader, node: Unsafe(loader.construct_scalar(node)))


def play(site: Any) -> dict[str, Any]:
    (one,) = yaml.load((site.out / "play.yml").read_text(), Loader)
    return dict(one)


def tasks(site: Any) -> dict[str, dict[str, Any]]:
    """All tasks by name."""
    found = {}
    for task in play(site)["tasks"]:
        for one in (*task.get("block", ()), *task.get("always", ()), task):
            found[one["name"]] = one
    return found


def texts(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for part in value.items() for text in texts(list(part))]
    if isinstance(value, list):
        return [text for part in value for text in texts(part)]
    return [value] if isinstance(value, str) else []


def test_the_play(site: Any) -> None:
    site.model("m", n_gpus="1").model("n", n_gpus="0")
    generated = site.ansible(environment="night")
    assert [path.name for path in generated.files] == ["play.yml"]
    assert play(site)["hosts"] == "gpu_nodes"
    variables = play(site)["vars"]
    assert variables["mad_environment"] == "night"
    digest = site.manifest["built_images"]["ci-m0_any"]["registry_digest"]
    assert variables["mad_images"] == [
        {
            "registry": "registry.example.com:5000",
            "path": f"ml/ci-m{n}_any",
            "digest": digest,
            "name": f"ci-m{n}_any",
        }
        for n in (0, 1)
    ]
    run = tasks(site)["Run the models"]
    words = run["vars"]["mad_words"]
    assert words[4:8] == [
        "{{ mad_command }}",
        "run",
        "--manifest-file",
        "{{ mad_work.path }}/build_manifest.json",
    ]
    text = (site.out / "play.yml").read_text()
    for name in ("madengine_path", "registry_url", "audit_mode", "compliance_log"):
        assert name in text
    used = {key for task in tasks(site).values() for key in task if key.startswith("ansible.builtin.")}
    # Nothing is installed.
    assert not used & {f"ansible.builtin.{name}" for name in ("pip", "package", "apt", "yum", "dnf", "shell")}


def test_defect_33_host_keys_stay_checked(site: Any) -> None:
    """Defect 33: the generated files leave verification on."""
    site.model("m", n_gpus="0").ansible()
    assert play(site)["vars"]["ansible_host_key_checking"] is True
    text = (site.out / "play.yml").read_text()
    assert "StrictHostKeyChecking" not in text
    assert "validate_certs" not in text


def test_defect_39_only_pinned_images(site: Any) -> None:
    """Defect 39: images are pulled by digest, and a model without one is an error."""
    site.model("m", n_gpus="0").ansible()
    pull = tasks(site)["Pull the images by their digests"]["ansible.builtin.command"]["argv"]
    assert pull[:2] == ["docker", "pull"]
    assert pull[2].endswith("@{{ item.digest }}")
    assert "--require-pinned" in tasks(site)["Run the models"]["vars"]["mad_words"]
    assert "docker.sock" not in (site.out / "play.yml").read_text()
    site.model("x", n_gpus="0", image={"registry_digest": None})
    with pytest.raises(ConfigError, match="digest for the image of x"):
        site.ansible()


def test_secrets_are_never_shown(site: Any) -> None:
    site.manifest["context"]["docker_env_vars"] = {"HUB": {"from_env": "HF_TOKEN"}}
    site.model("m", n_gpus="0", cred="VENDOR").ansible()
    assert play(site)["vars"]["mad_variables"] == ["HF_TOKEN"]
    assert play(site)["vars"]["mad_credentials"] == ["VENDOR"]
    for task in tasks(site).values():
        values = "".join(
            texts({key: part for key, part in task.items() if key.startswith("ansible.builtin.")})
        )
        if any(
            name in values for name in ("registry_password", "madengine_credentials |", "madengine_secrets[")
        ):
            assert task["no_log"] is True
        words = texts(task.get("ansible.builtin.command", {}).get("argv", []))
        assert not any("password }}" in word or "madengine_secrets" in word for word in words)


def test_texts_of_others_are_no_templates(site: Any) -> None:
    """Names, paths and the context may hold ``{{ }}``: Ansible would run what stands in it."""
    evil = "{{ lookup('pipe', 'touch hacked') }} {% raw %} '\""
    site.model(
        evil.replace("/", ""), n_gpus="0", args=evil, env_vars={"E": evil}, owner=evil, cred="C{{ 1+1 }}"
    )
    context = {"docker_env_vars": {"A": evil}}
    site.ansible(context)
    one = play(site)
    assert isinstance(one["vars"]["mad_context"], Unsafe)
    assert json.loads(one["vars"]["mad_context"]) == context
    for text in texts(one):
        if "touch hacked" in text or "1+1" in text:
            assert isinstance(text, Unsafe)


def test_paths_with_braces(site: Any, tmp_path: Any) -> None:
    from pytest_madengine.generate.common import generate_ansible

    hostile = tmp_path / "{{ x }}"
    hostile.mkdir()
    site.model("m", n_gpus="0").ansible()
    site.path.rename(hostile / "m.json")
    generate_ansible(hostile / "m.json", site.out / "play.yml", root=site.root, environ={})
    assert isinstance(play(site)["vars"]["mad_manifest"], Unsafe)


def test_what_lies_below_the_playbook_moves_with_it(site: Any) -> None:
    from pytest_madengine.generate.common import generate_ansible

    site.model("m", n_gpus="0").ansible()
    generate_ansible(site.path, site.root / "play.yml", root=site.root, environ={})
    (one,) = yaml.load((site.root / "play.yml").read_text(), Loader)
    assert one["vars"]["mad_manifest"] == "{{ playbook_dir }}/build_manifest.json"
    assert one["vars"]["mad_root"] == "{{ playbook_dir }}/."


def test_wrong_variable_names(site: Any) -> None:
    site.manifest["context"]["docker_env_vars"] = {"A": {"from_env": "x; id"}}
    site.model("m", n_gpus="0")
    with pytest.raises(ConfigError, match="cannot be an environment variable"):
        site.ansible()


def test_images_in_several_registries(site: Any) -> None:
    hub = {"registry_image": "org/name:tag"}
    generated = site.model("m", n_gpus="0").model("n", n_gpus="0", image=hub).ansible()
    assert any("several registries" in text for text in generated.warnings)
    assert play(site)["vars"]["mad_images"][1]["registry"] == ""
    assert play(site)["vars"]["mad_images"][1]["path"] == "org/name"
