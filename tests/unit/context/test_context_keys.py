from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.context.keys import (
    KNOWN,
    Check,
    check_keys,
    is_variable_name,
    normal_vendor,
    to_text,
)
from pytest_madengine.context.ranges import parse_ranges
from pytest_madengine.errors import ContextError
from pytest_madengine.secrets import Secret
from pytest_madengine.util.jsontext import boolean_of


def checked(values, **options):
    check = Check("S", **options)
    return check_keys(values, check), check.warnings


@pytest.mark.parametrize("text", ["amd", "AMD", " Amd "])
def test_vendors_are_upper_cased(text):
    """Contract 7.1: `{"gpu_vendor": "amd"}` gives `AMD`."""
    assert checked({"gpu_vendor": text}) == ({"gpu_vendor": "AMD"}, [])


@pytest.mark.parametrize("vendor", ["NVIDIA", "INTEL", "CPU"])
def test_all_vendors(vendor):
    assert normal_vendor(vendor.lower()) == vendor


@pytest.mark.parametrize("guest, warns", [("ubuntu", 0), ("CENTOS", 0), ("Rocky", 0), ("alpine", 1)])
def test_guests_are_upper_cased_and_unknown_ones_warn(guest, warns):
    """Contract 7.1."""
    values, warnings = checked({"guest_os": guest})
    assert values == {"guest_os": guest.upper()}
    assert len(warnings) == warns


@pytest.mark.parametrize(
    "key, words",
    [
        ("docker_env_var", "did you mean docker_env_vars?"),
        ("GPU_vendor", "did you mean gpu_vendor?"),
        ("tool", "did you mean tools?"),
        ("flavour", "is only compared with the CONTEXT lines"),
    ],
)
def test_unknown_keys_warn_and_stay(key, words):
    """Contract 7.1."""
    values, warnings = checked({key: "x"})
    assert values == {key: "x"}
    assert len(warnings) == 1
    assert warnings[0].startswith(f"S: {key} is unknown")
    assert words in warnings[0]


def test_an_unknown_object_has_no_effect():
    assert checked({"flavour": {}})[1] == ["S: flavour is unknown and has no effect"]


RIGHT = [
    ("host_os", "HOST_X", "HOST_X"),
    ("ctx_test", "1", "1"),
    ("docker_build_arg", {"N": 4}, {"N": "4"}),
    (
        "docker_env_vars",
        {"A": "x", "B": True, "C": 0.5, "D": False, "E": -1},
        {"A": "x", "B": "true", "C": "0.5", "D": "false", "E": "-1"},
    ),
    ("env_vars", {"_a": ""}, {"_a": ""}),
    ("docker_mounts", {"/data": "/mnt/data"}, {"/data": "/mnt/data"}),
    ("docker_gpus", "0,2-4, 5-5,7", "0,2-4, 5-5,7"),
    ("docker_cpus", "14-18, 32,44-44,62", "14-18, 32,44-44,62"),
    ("gpu_renderDs", [128, 136], [128, 136]),
    ("pre_scripts", [{"path": "a.sh", "args": 1}], [{"path": "a.sh", "args": "1"}]),
    ("post_scripts", [{"path": "a.sh"}], [{"path": "a.sh"}]),
    ("encapsulate_script", "a.sh", "a.sh"),
    (
        "tools",
        [{"name": "rpd", "cmd": "x", "env_vars": {"A": 1}}],
        [{"name": "rpd", "cmd": "x", "env_vars": {"A": "1"}}],
    ),
    ("model_args", "--x", "--x"),
    ("MAD_CONTAINER_IMAGE", "a:b", "a:b"),
    ("data", {"d": {}}, {"d": {}}),
    ("multi_node_args", {"NNODES": "2"}, {"NNODES": "2"}),
    ("distributed", {}, {}),
    ("slurm", {"nodes": 2}, {"nodes": 2}),
    ("k8s", {}, {}),
    ("kubernetes", {}, {}),
    ("vllm", {}, {}),
    ("shared_data", "x", "x"),
    ("debug", True, True),
    ("deploy", "local", "local"),
    ("monitor", False, False),
    ("cleanup_on_failure", True, True),
    ("skip_perf_collection", True, True),
    ("gpus_per_node", 8, 8),
    ("gpu_count", 0, 0),
    ("n_gpus", -1, -1),
    ("num_gpus", 1, 1),
    ("ngpus", 1, 1),
    ("SHM_SIZE", "16G", "16G"),
    ("MAD_ROCM_PATH", "/opt/x", "/opt/x"),
    ("rocenv_mode", "full", "full"),
    ("gen_sys_env_details", "False", False),
    ("generate_sys_env_details", True, True),
    ("timeout_multiplier", 1.5, 1.5),
    ("log_error_pattern_scan", False, False),
    ("log_error_pattern_scan", "false", False),
    ("log_error_patterns", ["x"], ["x"]),
    ("log_error_benign_patterns", [], []),
    ("numa_balancing", "0", "0"),
    ("gpu_vendor", "AMD", "AMD"),
    ("guest_os", "UBUNTU", "UBUNTU"),
]


@pytest.mark.parametrize("key, value, expected", RIGHT, ids=[row[0] for row in RIGHT])
def test_right_types(key, value, expected):
    """Contract 7.2, every key."""
    assert checked({key: value}) == ({key: expected}, [])


def test_the_table_above_is_complete():
    assert {row[0] for row in RIGHT} == KNOWN.keys()


@pytest.mark.parametrize(
    "key, value, words",
    [
        ("gpu_vendor", "TPU", "S: gpu_vendor 'TPU' is not one of AMD, NVIDIA, INTEL, CPU"),
        ("gpu_vendor", 1, "S: gpu_vendor must be text, not a number"),
        ("guest_os", None, "S: guest_os must be text, not null"),
        ("host_os", ["x"], "S: host_os must be text, not a list"),
        ("ctx_test", 1, "S: ctx_test must be text"),
        ("docker_build_arg", [], "S: docker_build_arg must be an object, not a list"),
        ("docker_env_vars", "A=1", "S: docker_env_vars must be an object, not text"),
        (
            "docker_env_vars",
            {"A": None},
            "S: docker_env_vars.A must be text, a number or true/false, not null",
        ),
        (
            "docker_env_vars",
            {"A": [1]},
            "S: docker_env_vars.A must be text, a number or true/false, not a list",
        ),
        ("docker_env_vars", {"A": {"from_env": "X"}}, "not an object"),
        ("docker_env_vars", {"A": "x\0y"}, "S: docker_env_vars.A contains a NUL"),
        ("docker_env_vars", {"1A": ""}, "S: docker_env_vars: '1A' is not a valid variable name"),
        ("docker_env_vars", {"A-B": ""}, "is not a valid variable name"),
        ("docker_env_vars", {"A\n": ""}, "is not a valid variable name"),
        ("docker_env_vars", {"": ""}, "is not a valid variable name"),
        ("docker_build_arg", {"Ä": ""}, "is not a valid variable name"),
        ("docker_mounts", {"/a": 1}, "S: docker_mounts./a must be text"),
        ("docker_mounts", ["/a"], "must be an object"),
        ("docker_gpus", 0, "S: docker_gpus must be text"),
        ("docker_gpus", "0,3-1", "S: docker_gpus has a range that runs backwards: '3-1'"),
        ("docker_gpus", "a", "S: docker_gpus has a malformed part 'a'"),
        ("docker_gpus", "0,1-", "S: docker_gpus has a malformed part '1-'"),
        ("docker_cpus", "1,,2", "S: docker_cpus has a malformed part ''"),
        ("gpu_renderDs", "128", "must be a list"),
        ("gpu_renderDs", [128, "136"], "S: gpu_renderDs[1] must be a renderD number"),
        ("gpu_renderDs", [True], "must be a renderD number"),
        ("pre_scripts", {"path": "x"}, "S: pre_scripts must be a list, not an object"),
        ("pre_scripts", ["x.sh"], "S: pre_scripts[0] must be an object, not text"),
        ("pre_scripts", [{"args": "x"}], "S: pre_scripts[0].path must be text, not null"),
        ("post_scripts", [{"path": ""}], "S: post_scripts[0].path is empty"),
        ("post_scripts", [{"path": "x", "args": []}], "S: post_scripts[0].args must be text, not a list"),
        ("tools", ["rpd"], "S: tools[0] must be an object, not text"),
        ("tools", [{}], "S: tools[0].name must be text"),
        ("tools", [{"name": ""}], "S: tools[0].name is empty"),
        ("tools", [{"name": "x", "cmd": 1}], "S: tools[0].cmd must be text"),
        ("tools", [{"name": "x", "env_vars": {"A B": 1}}], "S: tools[0].env_vars: 'A B' is not a valid"),
        ("slurm", [], "S: slurm must be an object"),
        ("n_gpus", "8", "S: n_gpus must be a whole number, not text"),
        ("n_gpus", True, "S: n_gpus must be a whole number, not true/false"),
        ("gpu_count", -2, "S: gpu_count must be -1 (all GPUs), 0 or more, not -2"),
        ("SHM_SIZE", 16, "S: SHM_SIZE must be text"),
        ("gen_sys_env_details", "maybe", "S: gen_sys_env_details must be true or false (or"),
        ("gen_sys_env_details", 1, "not a number"),
        ("timeout_multiplier", "2", "S: timeout_multiplier must be a number"),
        ("timeout_multiplier", True, "S: timeout_multiplier must be a number"),
        ("timeout_multiplier", 0, "S: timeout_multiplier must be greater than 0"),
        ("log_error_pattern_scan", "perhaps", "S: log_error_pattern_scan must be true or false"),
        ("log_error_patterns", [1], "S: log_error_patterns[0] must be text"),
        ("rocenv_mode", True, "S: rocenv_mode must be text"),
    ],
)
def test_wrong_types_name_source_and_key(key, value, words):
    """Contract 7.1, 7.2, 10.5: a wrong type of a known key is a usage error."""
    with pytest.raises(ContextError) as error:
        checked({key: value})
    assert words in error.value.message
    assert "\n" not in error.value.message


def test_an_unknown_rocenv_mode_warns_and_means_lite():
    """Contract 7.2."""
    values, warnings = checked({"rocenv_mode": "huge"})
    assert values == {"rocenv_mode": "lite"}
    assert warnings == ["S: rocenv_mode 'huge' is not one of lite, full: using lite"]


@pytest.mark.parametrize("key", ["gpu_vendor", "guest_os", "host_os", "docker_gpus", "docker_cpus"])
def test_blank_texts_mean_nothing_was_given(key):
    assert checked({key: " "}) == ({}, [])


def test_a_manifest_may_hold_nulls_references_and_secrets():
    """Contract 9.2."""
    secret = Secret("hunter22")
    references = {"A": {"from_env": "MAD_SECRETS_A"}, "B": {"from_credential": "x.y"}, "C": secret}
    values, _ = checked({"guest_os": None, "docker_env_vars": references}, references=True)
    assert values == {"docker_env_vars": references}
    for wrong in ({"from_env": 1}, {"from_env": "A", "x": "y"}, {"other": "x"}):
        with pytest.raises(ContextError, match="must be text"):
            checked({"docker_env_vars": {"A": wrong}}, references=True)


def test_control_characters_of_a_key_do_not_reach_the_terminal():
    assert "\x1b" not in checked({"\x1b[2Jx\n": 1})[1][0]


@pytest.mark.parametrize("text", ["true", "1", "YES", " on "])
def test_texts_that_switch_on(text):
    assert boolean_of(text) is True


@pytest.mark.parametrize("text", ["False", "0", "no", "off"])
def test_texts_that_switch_off(text):
    """Contract 10.9."""
    assert boolean_of(text) is False


def test_other_texts_are_no_booleans():
    assert boolean_of("") is None
    assert boolean_of("2") is None


@given(
    st.dictionaries(st.sampled_from([*KNOWN, "other"]), st.none() | st.integers() | st.text() | st.booleans())
)
def test_checks_are_idempotent_or_fail_with_a_context_error(values):
    try:
        once = check_keys(values, Check("S"))
    except ContextError as error:
        message = error.message
    else:
        assert check_keys(once, Check("S")) == once
        return
    assert message.startswith("S: ")


@given(st.text() | st.integers() | st.booleans() | st.floats(allow_nan=False))
def test_text_conversion_gives_text(value):
    text = to_text(value)
    assert isinstance(text, str)
    assert to_text(text) == text


@given(st.text())
def test_variable_names_are_plain(name):
    if is_variable_name(name):
        assert name.isascii()
        assert name.isidentifier()


@pytest.mark.parametrize(
    "text, expected",
    [
        ("0,2-4,5-5,7", (0, 2, 3, 4, 5, 7)),
        ("0-7", tuple(range(8))),
        ("7, 0 ,0", (0, 7)),
        ("14-18, 32,44-44,62", (14, 15, 16, 17, 18, 32, 44, 62)),
        (" 1 - 2 ", (1, 2)),
    ],
)
def test_ranges(text, expected):
    """Contract 10.5."""
    assert parse_ranges(text) == expected


@pytest.mark.parametrize("text", ["", "3-1", "a", "1-", "-1", "1 2", "0-99999", "1--2", "0-9999999", "٣"])
def test_wrong_ranges(text):
    """Contract 10.5: `3-1`, `a`, `1-`."""
    with pytest.raises(ValueError, match="has a"):
        parse_ranges(text)


@given(st.sets(st.integers(0, 5000), min_size=1))
def test_ranges_of_plain_numbers_are_these_numbers(numbers):
    assert parse_ranges(",".join(map(str, numbers))) == tuple(sorted(numbers))


def test_keys_that_begin_with_an_underscore_are_comments() -> None:
    """faults 5.6: given such keys, then no warning."""
    check = Check("S")
    check_keys({"_comment": {"a": None}, "_gpu_vendor": "x"}, check)
    assert check.warnings == []
