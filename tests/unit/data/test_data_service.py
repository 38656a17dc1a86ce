"""Selection, homes and the life of downloads (contract 13.2, 13.3)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from data_fakes import FakeProvider, FakeStore, Pauses
from pytest_madengine.catalog.model import Model
from pytest_madengine.context.types import Context
from pytest_madengine.data.provider import Timing
from pytest_madengine.data.service import DataService, builtin_providers, provider_order
from pytest_madengine.errors import ConfigError, DataError
from pytest_madengine.plan.runplan import DataMount
from pytest_madengine.secrets import Redactor
from pytest_madengine.settings import Settings

Make = Callable[..., DataService]


def model_of(data: str, name: str = "m") -> Model:
    return Model(name=name, dockerfile="docker/m", scripts="scripts/m/run.sh", data=data)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A MAD root."""
    path = tmp_path / "root"
    path.mkdir()
    return path


@pytest.fixture
def make(tmp_path: Path, root: Path) -> Make:
    """Makes a service for a data.json (``None``: no file) and a context."""

    def service(config: object = None, context: Any = None, **further: Any) -> DataService:
        if config is not None:
            (root / "data.json").write_text(json.dumps(config), encoding="utf-8")
        settings = {"root": root, "results_dir": tmp_path / "results", "output": root / "perf.csv"}
        merged = Settings(**{**settings, **further.pop("settings", {})})
        redactor = further.pop("redactor", None) or Redactor()
        pauses = Pauses()
        timing = Timing(pauses.clock, pauses.sleep)
        return DataService(merged, Context(context or {}), redactor, **{"timing": timing, **further})

    return service


def provide(service: DataService, data: str, tmp_path: Path) -> tuple[DataMount, ...]:
    return service.provide(model_of(data), tmp_path, {})


@pytest.mark.parametrize(
    ("data", "homes"),
    [
        ("d1", "/data_dlm_0"),
        ("d1,d3", "/data_dlm_0,/data_dlm_1"),
        ("d1, d2", "/data_dlm_0,/data/two"),
        ("d2 , d1", "/data/two,/data_dlm_1"),
        ("absent_place,d1", "/data_dlm_1"),
        ("huggingface", ""),
        ("", ""),
    ],
)
def test_homes(make: Make, tmp_path: Path, data: str, homes: str) -> None:
    """Contract 13.2: k is the position in `data`; names without data give no home."""
    config = {
        "d1": {"local": str(tmp_path)},
        "d2": {"local": {"path": str(tmp_path), "home": "/data/two"}},
        "d3": {"local": str(tmp_path)},
        "absent_place": {"local": "/nowhere/at/all"},
        "huggingface": {},
    }
    service = make(config)
    assert ",".join(mount.home for mount in provide(service, data, tmp_path)) == homes
    assert ",".join(mount.home for mount in service.plan(model_of(data))) == homes


def test_exported_path_is_mount_path(make: Make, tmp_path: Path) -> None:
    """Defect 57: given a local provider with `home`, and a model after another with failed providers / when
    they run / then the home is the mount's target, and the counter starts at 0 for each model."""
    config = {"gone": {"local": "/nowhere/at/all"}, "d": {"local": {"path": str(tmp_path), "home": "/h"}}}
    service = make({**config, "e": {"local": str(tmp_path)}})
    assert provide(service, "gone", tmp_path) == ()
    (mount,) = provide(service, "d", tmp_path)
    assert (mount.home, mount.source, mount.read_only) == ("/h", str(tmp_path), True)
    for _ in range(2):
        (mount,) = provide(service, "e", tmp_path)
        assert mount.home == "/data_dlm_0"


def test_the_order_of_the_providers() -> None:
    """Contract 13.2: custom, local, minio, nas, aws."""
    assert [provider.name for provider in builtin_providers()] == ["custom", "local", "minio", "nas", "aws"]


def test_the_position_in_the_file_does_not_matter(make: Make, root: Path, tmp_path: Path) -> None:
    """Contract 13.2."""
    (root / "get.sh").touch()
    for names in (["custom", "local"], ["local", "custom"]):
        paths = {"custom": "get.sh", "local": str(tmp_path)}
        (mount,) = provide(make({"d": {name: paths[name] for name in names}}), "d", tmp_path)
        assert mount.provider == "custom"


def test_an_unknown_name(make: Make, root: Path, tmp_path: Path) -> None:
    """Contract 13.2: FAILURE with close matches."""
    service = make({"imagenet": {"local": "/"}})
    expected = rf"^data name 'imagnet' is not defined in {root}/data\.json; did you mean 'imagenet'\?$"
    for call in (lambda: provide(service, "imagnet", tmp_path), lambda: service.plan(model_of("imagnet"))):
        with pytest.raises(DataError, match=expected):
            call()
    with pytest.raises(DataError, match=r"'zzz' is not defined in .*data\.json$"):
        provide(service, "zzz", tmp_path)


def test_no_data_json_at_all(make: Make, tmp_path: Path) -> None:
    """Contract 13.2: runs without data, warning with the names."""
    service = make(None, {"data": {"imagenet": {"local": str(tmp_path)}}})
    assert [mount.name for mount in provide(service, "one,imagenet", tmp_path)] == ["imagenet"]
    (note,) = service.notes(model_of("one,imagenet"))
    assert note.startswith("data 'one': there is no ")
    provide(service, "imagnet", tmp_path)
    assert "did you mean 'imagenet'?" in service.notes(model_of("imagnet"))[0]


def test_all_providers_unusable(make: Make, tmp_path: Path) -> None:
    """Contract 13.2: runs without data, one reason per provider."""
    config = {"d": {"aws": "no-address", "local": "/nowhere/at/all", "nas": "/p", "custom": "absent.sh"}}
    service = make(config)
    assert provide(service, "d", tmp_path) == ()
    (note,) = service.notes(model_of("d"))
    assert note.startswith(
        "data 'd': the model runs without it; custom: not usable: absent.sh is no file below "
    )
    for text in (
        "local: not usable: /nowhere/at/all does not exist",
        "nas: not usable: NAS_NODES is",
        "aws: not",
    ):
        assert text in note
    assert not service.notes(model_of("other"))


def test_a_failed_transfer_asks_the_next_provider(make: Make, tmp_path: Path) -> None:
    """Contract 13.2: transfer fails after the provider was chosen -> next provider."""
    broken, good = (
        FakeProvider(DataError("disk on fire"), "first"),
        FakeProvider(FakeStore({"f": b"x"}), "second"),
    )
    service = make({"d": {"second": "p", "first": "p"}}, providers=[broken, good])
    (mount,) = provide(service, "d", tmp_path)
    assert mount.provider == "second"
    assert service.notes(model_of("d")) == ["data 'd': first: disk on fire"]
    service.close()


def test_a_failed_transfer_without_another_provider(make: Make, tmp_path: Path) -> None:
    """Contract 13.2: none left -> FAILURE; secrets of the reasons are masked, and it is one line."""
    error = DataError("password hunter22\nwas refused", hint="not hunter22")
    providers = [FakeProvider("asleep", "first"), FakeProvider(error, "second")]
    service = make({"d": {"first": "p", "second": "p"}}, providers=providers, redactor=Redactor(["hunter22"]))
    with pytest.raises(DataError) as caught:
        provide(service, "d", tmp_path)
    assert caught.value.message == (
        "data 'd' cannot be provided: first: not usable: asleep; second: password *** was refused"
    )
    assert caught.value.hint == "not ***"


def test_downloads_of_earlier_names_are_removed_when_a_later_one_fails(make: Make, tmp_path: Path) -> None:
    service = make({"d": {"fake": "p"}}, providers=[FakeProvider(FakeStore({"f": b"x"}))])
    with pytest.raises(DataError, match="not defined"):
        provide(service, "d,absent", tmp_path)
    assert not [path for path in (tmp_path / "results/.data").glob("*/*") if path.name != ".lock"]
    service.close()


def test_private_downloads_live_until_they_are_released(make: Make, tmp_path: Path) -> None:
    """Contract 13.3: without a mirror the download is private to the run and removed afterwards."""
    service = make(
        {"d": {"fake": {"path": "p", "readwrite": "true"}}},
        providers=[FakeProvider(FakeStore({"a/f": b"x" * 2000}))],
    )
    (one,), (two,) = provide(service, "d", tmp_path), provide(service, "d", tmp_path)
    assert one.source != two.source
    assert (one.read_only, one.size) == (False, "2.0K")
    service.release(
        [one, DataMount("x", "local", "/h", source=str(tmp_path)), DataMount("y", "custom", "/h")]
    )
    assert not Path(one.source).exists()
    assert (Path(two.source) / "a/f").read_bytes() == b"x" * 2000
    service.close()
    service.close()
    assert not Path(two.source).exists()
    assert tmp_path.exists()


def test_what_a_dead_process_left_is_removed(make: Make, tmp_path: Path) -> None:
    dead = tmp_path / "results/.data/123-dead"
    dead.mkdir(parents=True)
    (dead / ".lock").touch()
    (tmp_path / "results/.data/no-lock").mkdir()
    alive = make({"d": {"fake": "p"}}, providers=[FakeProvider(FakeStore({"f": b"x"}))])
    (mount,) = provide(alive, "d", tmp_path)
    another = make(providers=[FakeProvider(FakeStore({"f": b"x"}))])
    provide(another, "d", tmp_path)
    assert not dead.exists()
    assert not (tmp_path / "results/.data/no-lock").exists()
    assert Path(mount.source).exists()
    alive.close()
    another.close()


def test_a_results_directory_that_cannot_be_written(make: Make, tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file")
    service = make({"d": {"fake": "p"}}, providers=[FakeProvider(FakeStore({"f": b"x"}))])
    with pytest.raises(DataError, match=r"download directory .*results"):
        provide(service, "d", tmp_path)


def test_mirrors(make: Make, root: Path, tmp_path: Path) -> None:
    """Contract 13.3: `mirrorlocal` is created; the forced mirror wins; files in `<mirror>/<name>`."""
    store = FakeStore({"f": b"content"})
    config = {"d": {"fake": {"path": "p", "mirrorlocal": "below/root"}}}
    service = make(config, providers=[FakeProvider(store)])
    (mount,) = provide(service, "d", tmp_path)
    assert mount.source == str(root / "below/root/d")
    assert service.plan(model_of("d"))[0].source == mount.source
    forced = tmp_path / "forced"
    service = make(config, providers=[FakeProvider(store)], settings={"force_mirror_local": forced})
    (mount,) = provide(service, "d", tmp_path)
    assert mount.source == str(forced / "d")
    service.release([mount])
    service.close()
    assert (forced / "d/f").read_bytes() == b"content"


def test_a_plan_touches_nothing(make: Make, tmp_path: Path) -> None:
    """`--mad-plan`: no network, no directory; the first provider that may work is shown."""
    remote = FakeProvider("never asked")
    service = make(
        {"d": {"fake": {"path": "p"}}, "e": {"aws": "s3://bkt/p", "minio": "wrong"}}, providers=[remote]
    )
    (mount,) = service.plan(model_of("d"))
    assert (mount.provider, mount.home, remote.asked) == ("fake", "/data_dlm_0", 0)
    (mount,) = service.plan(model_of("e"))
    assert (mount.provider, mount.source) == ("aws", "/<download of aws for this run>")
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"path": "s/get.sh", "args": "a b"}, ("", "s/get.sh", "a b")),
        ({"path": "./s/../s/get.sh"}, ("", "s/get.sh", "")),
        ({"path": "s/get.sh", "mirrorlocal": "mirror"}, ("mirror/d", "s/get.sh", "")),
        ({"path": "scripts/common/test_echo.sh"}, ("", "scripts/common/test_echo.sh", "")),
    ],
)
def test_custom(
    make: Make, root: Path, tmp_path: Path, entry: dict[str, str], expected: tuple[str, ...]
) -> None:
    """Contract 13.3: script below the MAD root, home inside the container or the mirror read-write."""
    (root / "s").mkdir()
    (root / "s/get.sh").touch()
    service = make({"d": {"custom": entry}})
    (planned,) = service.plan(model_of("d"))
    assert not (root / "mirror").exists()
    (mount,) = provide(service, "d", tmp_path)
    assert mount == planned
    source = str(root / expected[0]) if expected[0] else ""
    assert (mount.source, mount.script, mount.args, mount.read_only) == (source, *expected[1:], False)
    assert not source or Path(source).is_dir()


@pytest.mark.parametrize(
    "path", ["", "absent.sh", "../outside.sh", "/etc/passwd", ".", "..", "link.sh", "s/.."]
)
def test_custom_scripts_that_are_not_below_the_root(
    make: Make, root: Path, tmp_path: Path, path: str
) -> None:
    """Contract 13.3: the script exists below the MAD root; a link that leads out does not count."""
    (tmp_path / "outside.sh").touch()
    (root / "link.sh").symlink_to(tmp_path / "outside.sh")
    assert provide(make({"d": {"custom": {"path": path}}}), "d", tmp_path) == ()


def test_custom_with_a_mirror_that_cannot_be_made(make: Make, root: Path, tmp_path: Path) -> None:
    (root / "get.sh").touch()
    (root / "file").touch()
    with pytest.raises(DataError, match=r"mirror .*file/d: Not a directory"):
        provide(make({"d": {"custom": "get.sh", "mirrorlocal": "file"}}), "d", tmp_path)


def test_local(make: Make, root: Path, tmp_path: Path) -> None:
    """Contract 13.3, 13.4: mounted where it is, never mirrored, duration 0, `:ro` unless readwrite."""
    (root / "sets").mkdir()
    (root / "sets/f").write_bytes(bytes(1300))
    (root / "sets/sub").mkdir()
    (root / "sets/sub/g").write_bytes(bytes(100))
    config = {
        "d": {"local": {"path": "sets", "mirrorlocal": "m", "readwrite": "true"}},
        "e": {"local": "sets/f"},
    }
    service = make(config, settings={"force_mirror_local": tmp_path / "forced"})
    (mount,) = provide(service, "d", tmp_path)
    assert (mount.source, mount.read_only, mount.size, mount.duration) == (
        str(root / "sets"),
        False,
        "1.4K",
        0.0,
    )
    assert provide(service, "e", tmp_path)[0].size == "1.3K"
    assert not (tmp_path / "forced").exists()
    assert provide(make({"d": {"local": {"path": ""}}}), "d", tmp_path) == ()
    assert provide(make({"d": {"local": {"path": "sets/f/below"}}}), "d", tmp_path) == ()


def test_wrong_entries_fail_the_models_that_use_them(make: Make, tmp_path: Path) -> None:
    service = make({"d": {"local": 3}, "e": {"local": str(tmp_path), "lokal": "x"}})
    with pytest.raises(DataError, match=r"d\.local: must be a path"):
        provide(service, "d", tmp_path)
    provide(service, "e", tmp_path)
    assert "did you mean 'local'?" in service.notes(model_of("e"))[0]


def test_a_provider_of_the_user_replaces_one_of_the_same_name() -> None:
    mine, new = FakeProvider("x", "nas"), FakeProvider("x", "hdfs")
    order = provider_order([new, mine])
    assert list(order) == ["custom", "local", "minio", "nas", "aws", "hdfs"]
    assert order["nas"] is mine


def test_fields_of_a_users_provider_are_known(make: Make) -> None:
    service = make({"d": {"fake": {"path": "p", "colour": "red"}}}, providers=[FakeProvider("x")])
    assert not service.config.names["d"].warnings


def test_check_finds_what_is_wrong_early(make: Make, root: Path) -> None:
    """Contract 13.4: invalid JSON in a variable is a usage error naming the variable."""
    assert make({"data_sources": {}, "more": 1}).check() == (
        f"{root}/data.json: unknown field 'more' beside 'data_sources'",
    )
    redactor = Redactor()
    environ = {"NAS_NODES": '[{"HOST": "h", "USERNAME": "u", "PASSWORD": "planted-1"}]'}
    make({}, settings={"environ": environ}, redactor=redactor).check()
    assert redactor.text("planted-1") == "***"
    for name in ("MAD_AWS_S3", "MAD_MINIO", "NAS_NODES"):
        with pytest.raises(ConfigError, match=f"environment variable {name} is no valid JSON"):
            make({}, settings={"environ": {name: "{"}}).check()
    with pytest.raises(ConfigError, match="--mad-data-config"):
        make({}, settings={"data_config": root / "absent.json"}).check()
