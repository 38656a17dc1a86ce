from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.context import amd_tools
from pytest_madengine.context.amd import detect_amd, gpu_nodes, index_order
from pytest_madengine.context.amd_tools import SmiGpu
from pytest_madengine.context.probe import CommandOutput, Tools

NODES = "/sys/devices/virtual/kfd/kfd/topology/nodes"


def node(number, minor, unique_id=0, **more):
    lines = {"simd_count": 4, "drm_render_minor": minor, "unique_id": unique_id, **more}
    text = "".join(f"{key} {value}\n" for key, value in lines.items())
    return {f"{NODES}/{number}/properties": text}


def minors(nodes):
    return [entry.render_minor for entry in nodes]


@pytest.mark.parametrize(
    "version, name",
    [
        (90006, "gfx906"),
        (90008, "gfx908"),
        (90010, "gfx90a"),
        (90402, "gfx942"),
        (90500, "gfx950"),
        (100300, "gfx1030"),
        (110000, "gfx1100"),
        (120001, "gfx1201"),
        (0, ""),
    ],
)
def test_gfx_target_version(version, name):
    """Contract 7.4, table of gfx_target_version."""
    assert amd_tools.gfx_name(version) == name


def test_mi300x(recorded):
    facts = detect_amd(recorded("mi300x"), "/opt/rocm")
    assert len(facts.gpus) == 8
    assert facts.architecture == "gfx942"
    assert facts.product_name == "AMD Instinct MI300X"
    assert facts.runtime_version == "6.4"
    assert facts.driver_version == "6.12.12"
    assert facts.warnings == ()
    # amd-smi counts in another order than KFD.
    assert [gpu.render_minor for gpu in facts.gpus] == [136, 128, 152, 144, 168, 160, 184, 176]
    assert [gpu.identity for gpu in facts.gpus][:2] == ["0000:26:00.0", "0000:05:00.0"]
    assert [gpu.index for gpu in facts.gpus] == list(range(8))


def test_mi250_with_two_dies_per_card(recorded):
    """Contract 7.4: before ROCm 6.4.1 the order of rocm-smi counts, matched by unique id."""
    probe = recorded("mi250")
    facts = detect_amd(probe, "/opt/rocm")
    assert [gpu.render_minor for gpu in facts.gpus] == [130, 131, 128, 129, 134, 135, 132, 133]
    assert len({gpu.identity for gpu in facts.gpus}) == 8
    assert facts.architecture == "gfx90a"
    assert facts.runtime_version == "6.2"
    # amd-smi and rocm-smi know no name, the first die's product_name is empty, card0 is another vendor's.
    assert facts.product_name == "AMD Instinct MI250X / MI250"
    assert "amd-smi list -e --json" not in probe.run.asked


def test_denied_devices_give_facts_without_error_texts(recorded):
    """Defect 51: given tools that print to stderr, when detecting, then values are empty."""
    facts = detect_amd(recorded("denied"), "/opt/rocm")
    assert [gpu.render_minor for gpu in facts.gpus] == [128, 129]
    assert [gpu.identity for gpu in facts.gpus] == ["0000:03:00.0", "0001:43:00.0"]
    assert facts.architecture == "gfx1030"
    assert (facts.product_name, facts.runtime_version, facts.driver_version) == ("", "", "")
    assert facts.warnings == (
        "neither amd-smi nor rocm-smi gives the order of the GPUs: KFD node order is used",
    )


@pytest.mark.parametrize("host", ["broken", "cpu", "h100", "pvc"])
def test_no_amd_gpus(recorded, host):
    """Defect 51: no error text becomes a GPU."""
    assert detect_amd(recorded(host), "/opt/rocm") is None


def test_kfd_nodes_without_dev_kfd_need_a_tool(tree):
    """Contract 7.4: present is `/dev/kfd` and a node, else a tool that succeeds."""
    assert detect_amd(tree(node(1, 128)), "/opt/rocm") is None
    answers = {"amd-smi list --csv": CommandOutput("gpu,gpu_bdf\n0,0000:01:00.0\n")}
    probe = tree({**node(1, 128), "/usr/bin/amd-smi": "#!"}, answers)
    facts = detect_amd(probe, "/opt/rocm")
    assert [gpu.render_minor for gpu in facts.gpus] == [128]


def test_without_kfd_the_tools_count(tree):
    """Contract 7.4: count by data rows, architecture by rocminfo."""
    answers = {
        "amd-smi list --csv": CommandOutput(
            "WARNING: x, y\ngpu,gpu_bdf,gpu_uuid\n0,0000:05:00.0,05ff74a1-0000\n1,N/A,N/A\n\n"
        ),
        "amd-smi list -e --json": CommandOutput(
            '[{"gpu": 1, "render": "renderD136", "bdf": "0000:26:00.0"}]'
        ),
        "rocminfo": CommandOutput("Name: AMD EPYC\n  Name:  gfx942\n Name: amdgcn-amd-amdhsa--gfx90a:xnack-"),
        "rocm-smi --showproductname": CommandOutput("GPU[0] : Card Series: AMD Instinct MI300X\n"),
    }
    tools = dict.fromkeys(("/opt/r/bin/amd-smi", "/opt/r/bin/rocminfo", "/opt/r/bin/rocm-smi"), "#!")
    facts = detect_amd(tree({**tools, "/opt/r/.info/version": "7.0.1-1\n"}, answers), "/opt/r")
    assert [(gpu.identity, gpu.render_minor) for gpu in facts.gpus] == [
        ("0000:05:00.0", None),
        ("0000:26:00.0", 136),
    ]
    assert facts.architecture == "gfx942"
    assert facts.product_name == "AMD Instinct MI300X"
    assert facts.runtime_version == "7.0"


def test_rocm_smi_counts_when_amd_smi_fails(tree):
    answers = {
        "amd-smi list --csv": CommandOutput("gpu\n0\n1\n2\n", "failed", 1),
        "rocm-smi --showid --csv": CommandOutput("device,Device Name,GUID\ncard0,X,1\ncard1,X,2\n\n"),
    }
    facts = detect_amd(tree({"/usr/bin/amd-smi": "#!", "/usr/bin/rocm-smi": "#!"}, answers), "/opt/rocm")
    assert [gpu.identity for gpu in facts.gpus] == ["index:0", "index:1"]


def test_nodes_are_in_numeric_order_and_unreadable_ones_are_left_out(tree):
    files = {
        **node(10, 130),
        **node(2, 129),
        f"{NODES}/3/properties": "",
        f"{NODES}/x/properties": "simd_count 4",
    }
    nodes = gpu_nodes(tree(files))
    assert [entry.number for entry in nodes] == [2, 10]


def test_partitions_of_one_gpu_have_identities_of_their_own(tree):
    location = 0x0500
    files = {
        "/dev/kfd": "",
        **node(1, 128, location_id=location),
        **node(2, 129, location_id=location | 1 << 28),
        **node(3, 130, location_id=location),
        **node(4, 131),
    }
    facts = detect_amd(tree(files), "/opt/rocm")
    assert [gpu.identity for gpu in facts.gpus] == [
        "0000:05:00.0",
        "0000:05:00.0/1",
        "0000:05:00.0/2",
        "index:3",
    ]


TWO = {**node(1, 128, 17), **node(2, 129, 34)}
SMI = {"/usr/bin/amd-smi": "#!", "/usr/bin/rocm-smi": "#!"}
SWAPPED = (
    '[{"gpu": 0, "node_id": 2, "render": "renderD129"}, {"gpu": 1, "node_id": 1, "render": "renderD128"}]'
)
IDS = "GPU[0]\t\t: Unique ID: 0x22\nGPU[1]\t\t: Unique ID: 0x11\n"


@pytest.mark.parametrize(
    "release, listing, ids, expected, words",
    [
        ((6, 4, 1), SWAPPED, "", [129, 128], ""),
        ((7, 0, 0), f"Warning\n{SWAPPED}", "", [129, 128], ""),
        (None, SWAPPED, "", [129, 128], ""),
        ((7, 0, 0), f'{{"gpu_data": {SWAPPED}}}', "", [129, 128], ""),
        ((7, 0, 0), SWAPPED.replace('"render"', '"x"'), "", [129, 128], ""),
        ((7, 0, 0), SWAPPED.replace('"node_id"', '"x"'), "", [129, 128], ""),
        ((6, 4, 0), SWAPPED, IDS, [129, 128], ""),
        ((6, 4, 0), SWAPPED, "", [128, 129], "neither amd-smi nor rocm-smi"),
        ((6, 4, 1), "", IDS, [129, 128], ""),
        ((6, 4, 1), '[{"gpu": 0, "node_id": 1}]', IDS, [128, 129], "amd-smi lists 1 GPUs, KFD has 2"),
        (
            (6, 4, 1),
            SWAPPED.replace("129", "140"),
            "",
            [129, 128],
            "renderD140 for GPU 0, KFD says renderD129",
        ),
        (
            (6, 4, 1),
            '[{"gpu": 0, "node_id": 9}, {"gpu": 1, "node_id": 1}]',
            "",
            [128, 129],
            "cannot be matched",
        ),
        (
            (6, 4, 1),
            '[{"gpu": 0, "node_id": 1}, {"gpu": 1, "node_id": 1}]',
            "",
            [128, 129],
            "cannot be matched",
        ),
        ((5, 7, 0), "", IDS.splitlines()[0], [128, 129], "rocm-smi lists 1 GPUs, KFD has 2"),
        ((5, 7, 0), "", IDS.replace("0x22", "0x33"), [128, 129], "cannot be matched"),
        ((5, 7, 0), "", IDS.replace("0x22", "0x11"), [128, 129], "cannot be matched"),
    ],
)
def test_index_to_render_node(tree, release, listing, ids, expected, words):
    """Contract 7.4: GPU index -> renderD."""
    answers = {
        "amd-smi list -e --json": CommandOutput(listing),
        "rocm-smi --showuniqueid": CommandOutput(ids),
    }
    probe = tree({**TWO, **SMI}, answers)
    nodes, warnings = index_order(gpu_nodes(probe), Tools(probe), release)
    assert minors(nodes) == expected
    assert bool(warnings) == bool(words)
    assert words in "".join(warnings)


def test_without_tools_node_order_counts_with_a_warning(tree):
    """Contract 7.4."""
    probe = tree(TWO)
    nodes, warnings = index_order(gpu_nodes(probe), Tools(probe), None)
    assert minors(nodes) == [128, 129]
    assert len(warnings) == 1
    assert probe.run.asked == []


def test_one_gpu_needs_no_tool_for_its_order(tree):
    probe = tree({**node(1, 128), **SMI})
    assert index_order(gpu_nodes(probe), Tools(probe), None)[1] == ()
    assert probe.run.asked == []


def test_a_tool_that_hangs_costs_one_limit(tree):
    answers = {"amd-smi list -e --json": CommandOutput("", "", 124)}
    probe = tree({"/dev/kfd": "", **TWO, "/usr/bin/amd-smi": "#!"}, answers)
    facts = detect_amd(probe, "/opt/rocm")
    assert probe.run.asked == ["amd-smi list -e --json"]
    assert "amd-smi did not answer and was ended" in facts.warnings


@pytest.mark.parametrize(
    "text, name",
    [
        ("GPU[0]\t\t: Card series: \t\tAMD Instinct MI210\n", "AMD Instinct MI210"),
        ("GPU[1] : Card Series: Second\nGPU[0] : Card Model: First\n", "First"),
        ("GPU[0] : Card Series: N/A\nGPU[0] : Card Model: 0x740f\n", ""),
        ("ERROR: no GPU\n", ""),
    ],
)
def test_product_name_of_rocm_smi(text, name):
    assert amd_tools.parse_product_name(text) == name


PROPERTIES = st.dictionaries(
    st.from_regex(r"[a-z_][a-z0-9_]{0,20}", fullmatch=True), st.integers(0, 2**64 - 1), max_size=10
)


@given(PROPERTIES)
def test_properties_are_read_back(properties):
    text = "".join(f"{key} {value}\n" for key, value in properties.items())
    assert amd_tools.parse_properties(text) == properties


@given(st.text() | st.from_regex(r"(\w+ -?\d+\n?)*"))
def test_properties_of_any_text_are_numbers(text):
    for key, value in amd_tools.parse_properties(text).items():
        assert key
        assert value >= 0


@given(st.integers(-5, 10**9))
def test_every_version_has_a_name_or_none(version):
    name = amd_tools.gfx_name(version)
    assert name == "" or name.startswith("gfx")


@given(st.permutations(range(6)), st.text(alphabet="WARNG :\n"))
def test_amd_smi_lists_are_read_back_in_index_order(order, noise):
    entries = [{"gpu": gpu, "node_id": gpu + 2, "render": f"renderD{128 + gpu}"} for gpu in order]
    expected = tuple(SmiGpu(gpu, gpu + 2, 128 + gpu) for gpu in range(6))
    assert amd_tools.parse_amd_smi_json(noise + json.dumps(entries)) == expected


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["gpu", "node_id", "render", "bdf", "uuid", "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(ANY)
def test_foreign_json_of_amd_smi_never_raises(value):
    for entry in amd_tools.parse_amd_smi_json(json.dumps(value)):
        assert entry.gpu >= 0


@given(st.text() | st.text(alphabet='gpucardevi0123456789,:[]{}\n"GPU UniqueIDx MARKET_NAMES'))
def test_parsers_never_raise(text):
    amd_tools.parse_amd_smi_json(text)
    amd_tools.parse_list_csv(text)
    amd_tools.parse_unique_ids(text)
    amd_tools.first_gfx(text)
    for name in (amd_tools.parse_market_name(text), amd_tools.parse_product_name(text)):
        assert "\n" not in name


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "no json", '{"gpu": 1}', "7"])
def test_odd_json(text):
    assert len(amd_tools.parse_amd_smi_json(text)) == (1 if "gpu" in text else 0)
