"""Foreign use of leased GPUs, from recorded file trees and tool output."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from pytest_madengine.context.probe import CommandOutput, Probe
from pytest_madengine.context.types import HostFacts
from pytest_madengine.errors import LeaseError
from pytest_madengine.plan.runplan import Lease
from pytest_madengine.scheduling.foreign import Usage, foreign_use, settle_foreign_use
from pytest_madengine.settings import Settings

GIB = 1 << 30
Host = Callable[..., HostFacts]


class Tree:
    """A recorded AMD host: files below a directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for index in range(2):
            self.write(
                f"sys/devices/virtual/kfd/kfd/topology/nodes/{index + 1}/properties",
                f"simd_count 304\ndrm_render_minor {128 + index}\nodd line here\n",
            )
            self.write(f"sys/devices/virtual/kfd/kfd/topology/nodes/{index + 1}/gpu_id", f"{5000 + index}\n")
            self.memory(index, 300 << 20)

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def memory(self, index: int, used: int) -> None:
        self.write(f"sys/class/drm/renderD{128 + index}/device/mem_info_vram_used", f"{used}\n")

    def process(self, pid: int, index: int, used: int) -> None:
        self.write(f"sys/class/kfd/kfd/proc/{pid}/vram_{5000 + index}", f"{used}\n")
        self.write(f"proc/{pid}/comm", "python3\n")

    @property
    def probe(self) -> Probe:
        return Probe(self.root)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "host")


def test_amd_memory_and_processes(tree: Tree, make_host: Host) -> None:
    facts = make_host(2, simulated=False)
    assert foreign_use(tree.probe, facts, (0, 1)) == ()
    tree.memory(0, 20 * GIB)
    tree.process(4711, 1, GIB)
    tree.process(4712, 1, 0)
    assert foreign_use(tree.probe, facts, (0, 1)) == (
        Usage(0, 20 * GIB),
        Usage(1, 300 << 20, {4711: "python3"}),
    )
    assert foreign_use(tree.probe, facts, ()) == ()
    assert foreign_use(tree.probe, make_host(2), (0, 1)) == ()


def test_nvidia_memory_and_processes(make_host: Host) -> None:
    facts = make_host(3, "NVIDIA", simulated=False)
    uuid = facts.gpus[2].uuid

    def run(argv: Sequence[str], timeout: float, environ: Mapping[str, str]) -> CommandOutput:
        if any("compute-apps" in word for word in argv):
            return CommandOutput(f"{uuid}, 99, /opt/x/python, with comma\nGPU-other, 98, y\n[N/A]\n")
        return CommandOutput("0, 4\n1, 40000\n2, [N/A]\n7, 1\n")

    probe = Probe(Path("/"), run, {"PATH": str(Path("/bin"))})
    if not probe.which("nvidia-smi"):
        probe = FakeTools(Path("/"), run, {})
    assert foreign_use(probe, facts, (0, 1, 2)) == (
        Usage(1, 40000 << 20),
        Usage(2, 0, {99: "python, with comma"}),
    )


class FakeTools(Probe):
    """Every tool exists."""

    def which(self, name: str, *directories: str) -> str:
        return f"/usr/bin/{name}"


def test_nothing_is_known_of_other_vendors(make_host: Host, tree: Tree) -> None:
    assert foreign_use(tree.probe, make_host(2, "INTEL", simulated=False), (0,)) == ()


class Clock:
    """Time that passes by sleeping only."""

    def __init__(self) -> None:
        self.now = 0.0
        self.after: Callable[[], None] = lambda: None

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds
        self.after()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def settle(
    tree: Tree, make_host: Host, make_settings: Callable[..., Settings], clock: Clock
) -> Callable[..., object]:
    tree.process(4711, 0, 2 * GIB)
    tree.memory(0, 2 * GIB)

    def call(heard: list[str] | None = None, **fields: object) -> object:
        return settle_foreign_use(
            make_host(2, simulated=False),
            Lease((0, 1)),
            make_settings(**fields),
            (heard if heard is not None else []).append,
            clock.sleep,
            probe=tree.probe,
            clock=clock,
        )

    return call


SEEN = "GPU 0: 2.0 GiB in use (processes: 4711 python3)"


def test_policy_warn(settle: Callable[..., object], clock: Clock) -> None:
    assert settle() == (f"foreign use of a leased GPU: {SEEN}",)
    assert clock.now == 0


def test_policy_fail(settle: Callable[..., object]) -> None:
    with pytest.raises(LeaseError) as caught:
        settle(gpu_busy="fail")
    assert caught.value.message == f"foreign use of leased GPUs: {SEEN}"
    assert "--mad-gpus" in caught.value.hint


@pytest.mark.parametrize("policy", ["wait", "warn"])
def test_policy_wait_ends_at_its_limit(settle: Callable[..., object], clock: Clock, policy: str) -> None:
    heard: list[str] = []
    with pytest.raises(LeaseError, match="after 12 s"):
        settle(heard, gpu_busy=policy, gpu_wait=12.0)
    assert clock.now == 12
    assert heard == [f"waiting for foreign work to end: {SEEN}"]


def test_policy_wait_goes_on_when_the_work_ends(
    settle: Callable[..., object], clock: Clock, tree: Tree
) -> None:
    def end() -> None:
        if clock.now >= 60:
            tree.process(4711, 0, 0)
            tree.memory(0, 0)

    clock.after = end
    assert settle(gpu_busy="wait") == ()
    assert clock.now == 60


def test_a_refused_lease_is_given_back(
    tree: Tree, make_host: Host, make_leases: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pytest_madengine.plan.gpus import GpuDemand

    tree.memory(0, 2 * GIB)
    monkeypatch.setattr(Probe, "real", classmethod(lambda cls, environ: tree.probe))
    facts = make_host(2, simulated=False)
    strict = make_leases(facts, gpu_busy="fail")
    with pytest.raises(LeaseError):
        strict.acquire(GpuDemand((0, 1), 2))  # type: ignore[attr-defined]
    held = make_leases(facts).acquire(GpuDemand((0, 1), 2))  # type: ignore[attr-defined]
    assert held.notes == ("foreign use of a leased GPU: GPU 0: 2.0 GiB in use",)
    held.release()
