"""Parsers of what KFD, ``amd-smi``, ``rocm-smi`` and ``rocminfo`` print.  None of them raises."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pytest_madengine.context.gpus import pci_address, product_text
from pytest_madengine.util import jsontext

_PROPERTY: Final = re.compile(r"(\w+)[ \t]+(\d{1,40})[ \t\r]*", re.ASCII)
_RENDER: Final = re.compile(r"renderD(\d{1,6})", re.ASCII)
_UNIQUE_ID: Final = re.compile(r"^\s*GPU\[(\d{1,6})\]\s*:\s*Unique ID\s*:\s*0x([0-9a-fA-F]{1,32})\s*$", re.M)
_GFX: Final = re.compile(r"\bgfx[0-9a-f]{3,5}\b")
_MARKET_NAME: Final = re.compile(r"^[ \t]*MARKET_NAME[ \t]*:(.*)$", re.M)
_CARD_TEXT: Final = re.compile(
    r"^\s*GPU\[(\d{1,6})\]\s*:\s*Card (Series|Model)\s*:(.*)$", re.M | re.IGNORECASE
)


def parse_properties(text: str) -> dict[str, int]:
    """The lines ``key value`` of a KFD node's ``properties``; lines of another form are left out."""
    matches = (_PROPERTY.fullmatch(line.strip("\n")) for line in text.splitlines())
    return {match[1]: int(match[2]) for match in matches if match}


def gfx_name(version: int) -> str:
    """The name of a ``gfx_target_version``: decimal ``MMmmss``, minor and step in hex; empty for 0."""
    if version <= 0:
        return ""
    return f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}"


def first_gfx(text: str) -> str:
    """The first ``gfx...`` name of ``rocminfo``; empty when there is none."""
    match = _GFX.search(text)
    return match[0] if match else ""


@dataclass(frozen=True)
class SmiGpu:
    """One GPU as ``amd-smi list`` or ``rocm-smi --showid`` names it; ``None`` or empty where it does not."""

    gpu: int
    node_id: int | None = None
    render_minor: int | None = None
    bdf: str = ""
    uuid: str = ""


def parse_amd_smi_json(text: str) -> tuple[SmiGpu, ...]:
    """The GPUs of ``amd-smi list -e --json`` by index; empty when the output is something else.

    Warnings before the JSON text are skipped; releases differ in whether the list is wrapped in an object.
    """
    found: dict[int, SmiGpu] = {}
    for entry in _gpu_entries(_json_value(text)):
        gpu = _number(entry.get("gpu"))
        if gpu is not None and gpu not in found:
            render = _RENDER.fullmatch(_text(entry.get("render")))
            found[gpu] = SmiGpu(
                gpu,
                _number(entry.get("node_id")),
                int(render[1]) if render else None,
                pci_address(_text(entry.get("bdf"))),
                _uuid(_text(entry.get("uuid"))),
            )
    return tuple(found[gpu] for gpu in sorted(found))


def parse_list_csv(text: str) -> tuple[SmiGpu, ...]:
    """The data rows of ``amd-smi list --csv`` (``0,...``) or ``rocm-smi --showid --csv`` (``card0,...``)."""
    header: list[str] = []
    found: dict[int, SmiGpu] = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        match = re.fullmatch(r"(?:card)?(\d{1,6})", cells[0], re.ASCII)
        if cells[0].lower() in ("gpu", "device"):
            header = [cell.lower() for cell in cells]
        elif match and header:
            row = dict(zip(header, cells, strict=False))
            bdf = pci_address(row.get("gpu_bdf", "") or row.get("bdf", ""))
            uuid = _uuid(row.get("gpu_uuid", "") or row.get("uuid", ""))
            found.setdefault(int(match[1]), SmiGpu(int(match[1]), bdf=bdf, uuid=uuid))
    return tuple(found[gpu] for gpu in sorted(found))


def parse_unique_ids(text: str) -> dict[int, int]:
    """GPU index -> unique id of ``rocm-smi --showuniqueid``, in index order."""
    found = {int(match[1]): int(match[2], 16) for match in _UNIQUE_ID.finditer(text)}
    return dict(sorted(found.items()))


def parse_market_name(text: str) -> str:
    """``MARKET_NAME`` of ``amd-smi static``; empty when it is unknown."""
    names = (product_text(match[1]) for match in _MARKET_NAME.finditer(text))
    return next(filter(None, names), "")


def parse_product_name(text: str) -> str:
    """Series, else model, of the lowest GPU that has one in ``rocm-smi --showproductname``."""
    names: list[tuple[int, int, str]] = []
    for match in _CARD_TEXT.finditer(text):
        name = product_text(match[3])
        if name:
            names.append((int(match[1]), 0 if match[2].lower() == "series" else 1, name))
    return min(names)[2] if names else ""


def _json_value(text: str) -> object:
    starts = [index for index in (text.find("["), text.find("{")) if index >= 0]
    if not starts:
        return None
    try:
        return jsontext.parse_first(text, min(starts))
    except jsontext.JsonTextError:
        return None


def _gpu_entries(value: object) -> list[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        if "gpu" in value:
            return [value]
        lists = [entry for entry in value.values() if isinstance(entry, list)]
        value = lists[0] if lists else []
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []


def _number(value: object) -> int | None:
    if isinstance(value, str) and re.fullmatch(r"\d{1,9}", value, re.ASCII):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _uuid(text: str) -> str:
    return text.lower() if re.fullmatch(r"[0-9a-fA-F-]{8,64}", text) else ""
