"""Sessions of a small benchmark site for the browser tests: records, logs and perf.csv as runs leave them.

Deterministic: the same call makes the same files.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Final

from pytest_madengine.perfcsv.table import PerfCsv
from pytest_madengine.results.columns import build_columns
from pytest_madengine.results.record import Attempt, Metric, Outcome, RunRecord

#: Model, its metrics with their level, tags, precision.
MODELS: Final = (
    ("pyt_huggingface_bert", {"samples_per_second": 412.0}, ("pyt", "bert", "train"), "fp16"),
    ("pyt_vllm_llama-3.1-8b", {"tokens_per_second": 8123.0, "ttft_ms": 41.5}, ("vllm", "llm"), "fp8"),
    ("pyt_train_llama-3.1-70b", {"tokens/s/gpu": 1290.0, "tflops": 512.0}, ("train", "llm"), "bf16"),
    ("tf2_resnet50", {"images_per_second": 2764.0}, ("tf2", "vision"), "fp16"),
    ("pyt_mlperf-3d-unet", {"latency_ms": 18.3}, ("mlperf", "vision"), "fp32"),
    ("jax_maxtext_mixtral", {"tokens_per_second": 5310.0}, ("jax", "llm", "moe"), "bf16"),
    ("rccl_all_reduce", {"bus_bandwidth_GBps": 341.0}, ("rccl",), ""),
    ("whisper_large_v3", {"rtf": 0.043, "word_error": 8.1}, ("audio",), "fp16"),
)
#: What a hostile model might leave in its results; none of it may do anything but be read.
HOSTILE: Final = (
    "</script><script>window.pwned=1</script>",
    '"><img src=x onerror="window.pwned=2">',
    "<!--<script>window.pwned=3</script>",
    "javascript:window.pwned=4",
    '=HYPERLINK("http://evil.example","x")',
    "line\u2028separator\u2029 and 'quotes' \"double\" & ampersand",
    "{{ 7*7 }} ${window.pwned=5} `x`",
)
START: Final = datetime(2026, 10, 19, 21, 0, tzinfo=timezone.utc)


def run_id(number: int) -> str:
    """Id of a nightly session."""
    return f"{START + timedelta(days=number):%Y%m%dT%H%M%S.000Z}-{4096 + 77 * number:04x}"


def records(sessions: int = 14, *, hostile: bool = True) -> Iterator[RunRecord]:
    """Nightly sessions: a slow regression, an improvement, failures, a retry, a skip, hostile text."""
    chance = random.Random(5)
    for number in range(sessions):
        last = number == sessions - 1
        for place, (model, metrics, tags, precision) in enumerate(MODELS):
            factor = 1 + chance.gauss(0, 0.009)
            if place == 0 and number >= sessions - 2:
                factor *= 0.88
            if place == 3 and number >= sessions - 4:
                factor *= 1.11
            outcome, reason = Outcome.SUCCESS, ""
            if (place == 5 and last) or (chance.random() < 0.04 and not last):
                outcome, reason = Outcome.FAILURE, "script exited with 1: CUDA out of memory in log line 118"
            if place == 6 and number % 4 == 1:
                outcome, reason = Outcome.SKIPPED, "skip_gpu_arch has gfx942"
            values = {name: level * factor for name, level in metrics.items()}
            yield _record(number, place, model, values, tags, precision, outcome, reason)
        if last and hostile:
            yield _hostile(number)


def _record(
    number: int,
    place: int,
    model: str,
    values: dict[str, float],
    tags: tuple[str, ...],
    precision: str,
    outcome: Outcome,
    reason: str,
) -> RunRecord:
    begin = START + timedelta(days=number, minutes=11 * place)
    seconds = 400 + 37.25 * place + number
    directory = f"{model}.1"
    return RunRecord(
        run_id(number),
        model,
        model,
        outcome,
        reason,
        phase="run" if outcome is Outcome.FAILURE else "",
        metrics=()
        if outcome is not Outcome.SUCCESS
        else tuple(Metric(f"{value:.6g}", name) for name, value in values.items()),
        columns=build_columns(
            n_gpus=8,
            training_precision=precision,
            args="--batch 64 --config configs/default.csv" if place % 2 else "",
            tags=tags,
            docker_file=f"docker/{model}.ubuntu.amd.Dockerfile",
            base_docker="rocm/pytorch:rocm6.4_ubuntu22.04_py3.10",
            docker_sha="sha256:" + "5f" * 32,
            docker_image=f"ci-{model}_{model}.ubuntu.amd",
            git_commit="9f31c0d" + "0" * 33,
            machine_name=f"gpu-node-{3 + number % 2:02}",
            gpu_architecture="gfx942",
            build_duration=0.4,
            test_duration=seconds,
            build_number=str(900 + number),
        ),
        configs=[{"model": model, "batch": "64", "sequence_length": "2048"}] if place % 2 else None,
        exit_code=1 if outcome is Outcome.FAILURE else 0 if outcome is Outcome.SUCCESS else None,
        started=f"{begin:%Y-%m-%dT%H:%M:%SZ}",
        finished=f"{begin + timedelta(seconds=seconds + 30):%Y-%m-%dT%H:%M:%SZ}",
        durations={}
        if outcome is Outcome.SKIPPED
        else {"build": 0.4, "data": 12.3, "lease": 3.0, "prepare": 5.8, "run": seconds, "collect": 1.1},
        image={
            "name": f"ci-{model}_{model}.ubuntu.amd",
            "id": "sha256:" + "3c" * 32,
            "digest": "",
            "dockerfile": f"docker/{model}.ubuntu.amd.Dockerfile",
            "base": "rocm/pytorch:rocm6.4_ubuntu22.04_py3.10",
            "base_digest": "sha256:" + "5f" * 32,
            "container": f"container_ci-{model}",
        },
        host={
            "hostname": f"gpu-node-{3 + number % 2:02}",
            "host_os": "Ubuntu 22.04",
            "gpu_vendor": "AMD",
            "gpu_count": 8,
            "gpu_architecture": "gfx942",
            "gpu_product_name": "AMD Instinct MI300X",
            "runtime_version": "6.4.1",
            "driver_version": "6.12.12",
            "simulated": False,
        },
        lease={"gpus": list(range(8)), "simulated": False},
        data=(
            {
                "name": "llama-weights",
                "provider": "nas",
                "home": "/data/llama",
                "size": "141G",
                "duration": 12.3,
            },
        )
        if place in (1, 2)
        else (),
        artifacts=(f"{directory}/{model}.run.live.log", f"{directory}/env.csv", f"{directory}/a b#1.json"),
        log_file=f"{directory}/{model}.run.live.log",
        log_tail=_log(model, values, outcome),
        hint="lower the batch size, or ask for more GPUs" if outcome is Outcome.FAILURE else "",
        warnings=("metric tokens_per_second printed 2 times, last value kept",) if place == 1 else (),
        attempts=(
            Attempt(Outcome.FAILURE, "the engine broke off", "run", f"{begin:%Y-%m-%dT%H:%M:%SZ}", 41.0),
            Attempt(outcome, reason, "run", f"{begin:%Y-%m-%dT%H:%M:%SZ}", seconds),
        )
        if place == 2 and number % 5 == 0
        else (),
        # The image of one model changed for good.
        fingerprint=f"{place:02}{'b' if place == 7 and number > 8 else 'a'}" + "e7" * 14,
        gate={},
    )


def _log(model: str, values: dict[str, float], outcome: Outcome) -> tuple[str, ...]:
    steps = [
        f"step {100 * n:5d} | loss {2.9 - n / 20:.4f} | lr 1.00e-04 | 8 x MI300X | {model}" for n in range(24)
    ]
    if outcome is Outcome.FAILURE:
        return (
            *steps,
            "Traceback (most recent call last):",
            '  File "train.py", line 212, in <module>',
            "    main()",
            "RuntimeError: CUDA out of memory. Tried to allocate 3.21 GiB (GPU 0; 191.98 GiB total capacity)",
        )
    return (*steps, *(f"performance: {value:.6g} {name}" for name, value in values.items()))


def _hostile(number: int) -> RunRecord:
    """A record in which every text tries to become markup, a script or a formula."""
    begin = START + timedelta(days=number, hours=3)
    text = HOSTILE[0]
    return RunRecord(
        run_id(number),
        HOSTILE[1],
        HOSTILE[2],
        Outcome.FAILURE,
        HOSTILE[1],
        phase="run",
        metrics=tuple(
            Metric(f"{count}", name, outcome=Outcome.FAILURE) for count, name in enumerate(HOSTILE)
        ),
        columns=build_columns(args=HOSTILE[4], tags=HOSTILE, machine_name=text, gpu_architecture=HOSTILE[3]),
        configs={"x": HOSTILE[0]},
        started=f"{begin:%Y-%m-%dT%H:%M:%SZ}",
        finished=f"{begin + timedelta(minutes=1):%Y-%m-%dT%H:%M:%SZ}",
        durations={HOSTILE[0]: 1.0, "run": 2.0},
        image={"name": text, "digest": HOSTILE[3]},
        host={"hostname": HOSTILE[1]},
        artifacts=("javascript:window.pwned=6", "../../../etc/passwd", "h.1/<b>.txt"),
        log_file="h.1/</script>.log",
        log_tail=HOSTILE,
        hint=HOSTILE[6],
        warnings=HOSTILE,
        fingerprint=HOSTILE[0],
    )


def write_site(root: Path, sessions: int = 14) -> Path:
    """``perf.csv`` and ``mad-results`` below a directory; returns the CSV."""
    table = PerfCsv(root / "perf.csv")
    for record in records(sessions):
        directory = root / "mad-results" / record.run_id
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / "records.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record.to_dict()) + "\n")
        for name in (record.log_file, *record.artifacts):
            if ".." not in name and ":" not in name:
                (directory / name).parent.mkdir(parents=True, exist_ok=True)
                (directory / name).write_text("\n".join(record.log_tail) + "\n", encoding="utf-8")
        table.append(record)
    return table.path


def documents(sessions: int = 14, *, hostile: bool = True) -> list[dict[str, Any]]:
    """The records as objects."""
    return [record.to_dict() for record in records(sessions, hostile=hostile)]
