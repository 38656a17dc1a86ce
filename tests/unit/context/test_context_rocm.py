from __future__ import annotations

import pytest
from pytest_madengine.context.probe import CommandOutput, Tools
from pytest_madengine.context.rocm import (
    container_rocm_path,
    hip_version,
    host_rocm_root,
    is_rocm_root,
    rocm_release,
)
from pytest_madengine.secrets import Secret

MARK = ".info/version"


@pytest.mark.parametrize(
    "files, expected",
    [
        (["share/therock/therock_manifest.json"], True),
        (["share/therock/dist_info.json"], True),
        (["bin/rocminfo"], True),
        (["bin/rocm-smi", "bin/amd-smi"], True),
        (["bin/rocm-smi"], False),
        (["bin/amd-smi"], False),
        ([".info/version"], True),
        (["lib/librocm.so"], False),
    ],
)
def test_marks_of_a_root(tree, files, expected):
    """Contract 7.4: a root has ..."""
    probe = tree({f"/r/{name}": "x" for name in files})
    assert is_rocm_root(probe, "/r") is expected


@pytest.mark.parametrize(
    "context, files, environ, expected",
    [
        # Precedence: context > detection (unless switched off) > ROCM_PATH > /opt/rocm.
        (" /c ", [f"/opt/rocm/{MARK}"], {"ROCM_PATH": "/e"}, "/c"),
        ("", [f"/opt/rocm/{MARK}"], {"ROCM_PATH": "/e"}, "/opt/rocm"),
        ("", [f"/opt/rocm/{MARK}"], {"ROCM_PATH": "/e", "MAD_AUTO_ROCM_PATH": "0"}, "/e"),
        ("", [f"/opt/rocm/{MARK}"], {"MAD_AUTO_ROCM_PATH": "0"}, "/opt/rocm"),
        ("", [f"/x/{MARK}"], {"ROCM_PATH": "/e"}, "/e"),
        ("", [f"/x/{MARK}"], {}, "/opt/rocm"),
        # Order of detection.
        ("", [f"/opt/rocm-6.2.0/{MARK}", f"/opt/rocm-5.7.0/{MARK}"], {}, "/opt/rocm-5.7.0"),
        ("", [f"/e/{MARK}", f"/usr/local/rocm/{MARK}"], {"ROCM_PATH": "/e/"}, "/e"),
        ("", [f"/h/{MARK}"], {"ROCM_HOME": "/h"}, "/h"),
        ("", [f"/h/{MARK}"], {"HIP_PATH": "/h/a/b/c/d"}, "/h"),
        ("", [f"/h/{MARK}"], {"HIP_PATH": "/h/a/b/c/d/e"}, "/opt/rocm"),
        ("", ["/bin/rocminfo"], {"HIP_PATH": "/hip"}, "/opt/rocm"),
        ("", [f"/h/{MARK}"], {"HIP_PATH": "h"}, "/opt/rocm"),
        ("", [f"/usr/local/rocm/{MARK}", f"/home/u/rocm/{MARK}"], {"HOME": "/home/u"}, "/usr/local/rocm"),
        ("", [f"/home/u/rocm/{MARK}", f"/home/u/therock/{MARK}"], {"HOME": "/home/u"}, "/home/u/rocm"),
        ("", [f"/home/u/therock/{MARK}"], {"HOME": "/home/u"}, "/home/u/therock"),
        ("", ["/usr/bin/rocminfo"], {}, "/usr"),
        ("", ["/t/bin/hipconfig", f"/t/{MARK}"], {"PATH": "/t/bin"}, "/t"),
        ("", ["/bin/rocminfo"], {"PATH": "/bin"}, "/opt/rocm"),
    ],
)
def test_host_root(tree, context, files, environ, expected):
    """Contract 7.4: ROCm root, host."""
    probe = tree(dict.fromkeys(files, "#!"), **environ)
    assert host_rocm_root(probe, context) == expected


def test_a_link_to_a_tool_leads_to_its_root(tree):
    probe = tree({f"/x/rocm-6/{MARK}": "", "/x/rocm-6/bin/amd-smi": "#!"})
    (probe.fs_root / "usr/bin").mkdir(parents=True)
    (probe.fs_root / "usr/bin/amd-smi").symlink_to("../../x/rocm-6/bin/amd-smi")
    assert host_rocm_root(probe, "") == "/x/rocm-6"


@pytest.mark.parametrize(
    "output, expected",
    [
        (CommandOutput("/venv/_rocm_sdk\n"), "/venv/_rocm_sdk"),
        (CommandOutput("note\n/venv/_rocm_sdk\n"), "/venv/_rocm_sdk"),
        (CommandOutput("/venv/_rocm_sdk\n", "failed", 1), "/opt/rocm"),
        (CommandOutput("No module named x\n"), "/opt/rocm"),
        (CommandOutput(""), "/opt/rocm"),
    ],
)
def test_the_python_package_of_the_rock(tree, output, expected):
    files = {"/usr/bin/rocm-sdk": "#!", f"/venv/_rocm_sdk/{MARK}": ""}
    probe = tree(files, {"rocm-sdk path --root": output})
    assert host_rocm_root(probe, "") == expected


@pytest.mark.parametrize(
    "docker_env_vars, image_env, expected",
    [
        (
            {"MAD_ROCM_PATH": "/a", "ROCM_PATH": "/b"},
            {"ROCM_PATH": "/c"},
            ("/a", "docker_env_vars.MAD_ROCM_PATH"),
        ),
        ({"ROCM_PATH": "/b"}, {"ROCM_PATH": "/c"}, ("/b", "docker_env_vars.ROCM_PATH")),
        ({"ROCM_PATH": Secret("/b")}, {}, ("/b", "docker_env_vars.ROCM_PATH")),
        ({"ROCM_PATH": ""}, {"ROCM_PATH": "/c", "ROCM_HOME": "/d"}, ("/c", "image:ROCM_PATH")),
        ({}, {"ROCM_HOME": "/d"}, ("/d", "image:ROCM_HOME")),
        ({}, {}, None),
    ],
)
def test_container_root(docker_env_vars, image_env, expected):
    """Contract 7.4: ROCm root, container; None means: probe at container start."""
    assert container_rocm_path(docker_env_vars, image_env) == expected


@pytest.mark.parametrize(
    "text, expected",
    [("6.4.1-83\n", (6, 4, 1)), ("7.0\n", (7, 0, 0)), ("", None), ("Permission denied", None), ("6\n", None)],
)
def test_release(tree, text, expected):
    assert rocm_release(tree({f"/r/{MARK}": text}), "/r") == expected


@pytest.mark.parametrize(
    "output, file, expected",
    [
        (CommandOutput("6.2.41133-dd7f95766"), "6.1.0", "6.2"),
        (CommandOutput("", "perl: not found", 127), "6.1.0-82\n", "6.1"),
        (CommandOutput("perl: warning: Setting locale failed.\n"), "", ""),
        (CommandOutput("6.2", "", 1), "", ""),
    ],
)
def test_hip_version(tree, output, file, expected):
    """Defect 51: `major.minor` or empty, never an error text."""
    probe = tree({"/r/bin/hipconfig": "#!", f"/r/{MARK}": file}, {"hipconfig --version": output})
    assert hip_version(probe, Tools(probe, "/r/bin"), "/r") == expected
