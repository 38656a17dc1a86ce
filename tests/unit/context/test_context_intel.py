from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.context.gpus import natural_key, pci_address, pci_from_location
from pytest_madengine.context.intel import detect_intel, parse_discovery
from pytest_madengine.context.probe import CommandOutput

TABLE = """\
+-----------+------------------------+
| Device ID | Device Information     |
+-----------+------------------------+
| 0         | Device Name: Intel(R) Flex 170 |
|           | PCI BDF Address: 0000:4d:00.0  |
|           | UUID: 00000000-0000-004d-0000  |
+-----------+------------------------+
| x         | Device Name: nobody            |
"""


def test_ponte_vecchio_beside_integrated_graphics(recorded):
    """Contract 7.4: render nodes of vendor 0x8086 outside PCI bus 0, in the order of xpu-smi."""
    facts = detect_intel(recorded("pvc"))
    assert facts.vendor == "INTEL"
    assert [(gpu.identity, gpu.render_minor) for gpu in facts.gpus] == [
        ("0000:9a:00.0", 130),
        ("0000:29:00.0", 129),
    ]
    assert facts.gpus[0].uuid == "00000000-0000-009a-0000-002f0bd58086"
    assert facts.architecture == "0x0bd5"
    assert facts.product_name == "Intel(R) Data Center GPU Max 1550"
    assert facts.runtime_version == ""
    assert facts.driver_version == "I915_24.1.11_PSB_231129.13"


@pytest.mark.parametrize("host", ["broken", "cpu", "mi250", "h100"])
def test_no_intel_gpus(recorded, host):
    """Defect 51."""
    assert detect_intel(recorded(host)) is None


def render_node(minor, pci="0000:29:00.0", vendor="0x8086", device="0x0bd5"):
    base = f"/sys/class/drm/renderD{minor}/device"
    return {f"{base}/vendor": vendor, f"{base}/device": device, f"{base}/uevent": f"PCI_SLOT_NAME={pci}\n"}


def test_sysfs_is_enough(tree):
    probe = tree({**render_node(130, "0000:2a:00.0"), **render_node(129), **render_node(128, "0000:00:02.0")})
    facts = detect_intel(probe)
    assert [gpu.render_minor for gpu in facts.gpus] == [129, 130]
    assert facts.product_name == ""
    assert probe.run.asked == []


@pytest.mark.parametrize(
    "files",
    [
        render_node(128, vendor="0x10de"),
        render_node(128, vendor="Permission denied"),
        render_node(128, pci="unknown"),
        render_node("X"),
    ],
)
def test_what_is_not_a_graphics_card_of_intel(tree, files):
    assert detect_intel(tree(files)) is None


def test_an_odd_device_id_is_no_architecture(tree):
    assert detect_intel(tree(render_node(128, device="cannot read"))).architecture == ""


def test_xpu_smi_is_enough(tree):
    """Contract 7.4: `xpu-smi discovery` lists a device."""
    facts = detect_intel(tree({"/usr/bin/xpu-smi": "#!"}, {"xpu-smi discovery": CommandOutput(TABLE)}))
    assert [(gpu.identity, gpu.render_minor) for gpu in facts.gpus] == [("0000:4d:00.0", None)]
    assert facts.product_name == "Intel(R) Flex 170"


def test_a_hanging_xpu_smi_is_reported(tree):
    probe = tree(
        {"/usr/bin/xpu-smi": "#!", **render_node(128)}, {"xpu-smi discovery": CommandOutput(code=124)}
    )
    assert detect_intel(probe).warnings == ("xpu-smi did not answer and was ended",)


@given(st.text() | st.text(alphabet="|+-0123 :\nDeviceNamPCIBFADrsUU"))
def test_discovery_never_raises(text):
    for device in parse_discovery(text):
        assert device.number >= 0
        assert "\n" not in device.name


@given(st.integers(0, 0xFFFF), st.integers(1, 255), st.integers(0, 31), st.integers(0, 7))
def test_pci_addresses(domain, bus, device, function):
    address = f"{domain:04x}:{bus:02x}:{device:02x}.{function}"
    assert pci_address(address) == pci_address(f"0000{address.upper()}") == address
    assert pci_from_location(domain, bus << 8 | device << 3 | function) == address


@pytest.mark.parametrize(
    "text, expected", [("1b:00.0", "0000:1b:00.0"), ("[N/A]", ""), ("", ""), ("x:y", "")]
)
def test_odd_pci_addresses(text, expected):
    assert pci_address(text) == expected


@pytest.mark.parametrize("domain, location", [(0, 0), (-1, 256), (0, -1), (0, 1 << 28)])
def test_no_location(domain, location):
    assert pci_from_location(domain, location) == ""


@given(st.text())
def test_natural_order_never_raises(text):
    assert natural_key(text) <= natural_key(text + "1") or text == ""
