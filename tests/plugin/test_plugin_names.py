"""Items, records and images whose plain names would be the same (faults 1.5 and 1.8)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.catalog.ids import bases_of
from pytest_madengine.catalog.model import Model, Parameter, Selected
from pytest_madengine.images.dockerfile import DockerfileMatch
from pytest_madengine.images.naming import image_name
from pytest_madengine.session.distinct import DirectoryNames, distinct
from pytest_madengine.session.items import ItemSpec


def spec(model: str, file: str = "x.ubuntu", *, name: str = "", **more: Any) -> ItemSpec:
    base = file.removesuffix(".Dockerfile")
    match = DockerfileMatch(Path(file), f"docker/{file}", base)
    return ItemSpec(name or model, Selected(Model(model, "docker/x", "run.sh"), **more), match)


def image_of(one: ItemSpec) -> str:
    return f"{image_name(one.selected.model.name, one.base)}-{one.image_suffix}".rstrip("-")


def test_two_dockerfiles_that_differ_in_the_suffix(repo: Any) -> None:
    """Faults 1.5: given Dockerfiles d.ubuntu and d.ubuntu.Dockerfile of a model / when run / then two items,
    two records, two directories."""
    for name in ("d.ubuntu", "d.ubuntu.Dockerfile", "d.centos.Dockerfile"):
        (repo.path / "docker" / name).write_text("# CONTEXT {'guest_os': 'UBUNTU'}\nFROM scratch\n")
    repo.model("m", dockerfile="docker/d")
    result = repo.run("--mad-tags", "m")
    result.assert_outcomes(passed=3)
    items = ["m[d.centos]", "m[d.ubuntu.Dockerfile]", "m[d.ubuntu]"]
    assert sorted(record["item_id"] for record in repo.records()) == items
    assert len(repo.rows()) == 3
    assert len(list(repo.path.glob("mad-results/*/*/*.run.live.log"))) == 3


def test_a_model_that_is_called_like_another_with_parameters(repo: Any) -> None:
    """Faults 1.5: given model m with a=1 and a model m[a=1] / when run / then two records."""
    repo.model("m").model("m[a=1]")
    result = repo.run("--mad-tags", "m:a=1,m[a=1]")
    result.assert_outcomes(passed=2)
    assert {record["item_id"]: record["model"] for record in repo.records()} == {
        "m[any:a=1]": "m",
        "m[a=1]": "m[a=1]",
    }


def test_a_manifest_with_two_images_of_one_model(repo: Any) -> None:
    """Faults 1.5: given a manifest with two images of a model / when run / then two items; those of two
    Dockerfiles have the names they have without a manifest."""
    blocks = {
        "ci-m_x": {"docker_image": "ci-m_x", "model": "m"},
        "ci-m_y": {"docker_image": "ci-m_y", "model": "m"},
        "n1": {"docker_image": "n1", "model": "n", "dockerfile": "docker/d.ubuntu"},
        "n2": {"docker_image": "n2", "model": "n", "dockerfile": "docker/d.ubuntu.Dockerfile"},
    }
    repo.model("m").model("n")
    models = {key: repo.entries[0 if block["model"] == "m" else 1] for key, block in blocks.items()}
    content = {"built_images": blocks, "built_models": models, "context": {}}
    (repo.path / "build_manifest.json").write_text(json.dumps(content))
    result = repo.run("--mad-manifest=build_manifest.json")
    result.assert_outcomes(passed=4)
    items = ["m[ci-m_x]", "m[ci-m_y]", "n[d.ubuntu.Dockerfile]", "n[d.ubuntu]"]
    assert sorted(record["item_id"] for record in repo.records()) == items


def test_a_manifest_whose_image_names_collide(repo: Any) -> None:
    """Faults 1.8: given a manifest without image ids in which Foo and foo have one image name / when
    collected / then an error with both places, and nothing runs; with image ids it runs."""
    blocks = {
        "ci-Foo_x": {"docker_image": "ci-foo_x", "model": "Foo", "dockerfile": "docker/x"},
        "ci-foo_x": {"docker_image": "ci-foo_x", "model": "foo", "dockerfile": "docker/y"},
    }
    repo.model("Foo").model("foo")
    models = dict(zip(blocks, repo.entries, strict=True))
    content = {"built_images": blocks, "built_models": models, "context": {}}
    path = repo.path / "build_manifest.json"
    path.write_text(json.dumps(content))
    result = repo.run("--mad-manifest=build_manifest.json")
    assert result.ret == 4
    result.stderr.fnmatch_lines(
        ["*'ci-Foo_x'* (docker/x) and *'ci-foo_x'* (docker/y) have one docker_image*"]
    )
    assert repo.rows() == []
    repo.run("--mad-manifest=build_manifest.json", "--mad-tags=foo").assert_outcomes(passed=1)
    for number, block in enumerate(blocks.values()):
        block["image_id"] = f"sha256:{number:064}"
    path.write_text(json.dumps(content))
    repo.run("--mad-manifest=build_manifest.json").assert_outcomes(passed=2)


def test_image_names_that_would_be_the_same() -> None:
    """Faults 1.8: given models whose image names are the same in lower case, or run together / then each
    has its own; the one that is written like it keeps it."""
    specs = [
        *(spec("Foo"), spec("foo"), spec("FOO")),
        *(spec("a/b"), spec("a_b")),
        *(spec("m", "x_y"), spec("m_x", "y")),
        *(spec("k", "d.Ubuntu"), spec("k", "d.ubuntu")),
        *(spec("p", parameters=(Parameter("a", "1"),), name="p[a=1]"), spec("p")),
    ]
    found = distinct(specs)
    kept = {one.selected.model.name for one in found if not one.image_suffix}
    assert kept == {"foo", "a_b", "k", "p"}
    names = [image_of(one) for one in found]
    assert len(set(names)) == len(names) - 1, "p twice: its parameters have a hash of their own"
    assert distinct(found) == found


@given(
    st.lists(
        st.tuples(st.text("aA_[1]=", min_size=1, max_size=4), st.text("xX._", min_size=1, max_size=3)),
        max_size=12,
        unique=True,
    )
)
def test_no_two_items_share_anything(pairs: list[tuple[str, str]]) -> None:
    specs = [spec(model, file) for model, file in pairs]
    specs += [spec(m, f, name=f"{m}[a=1]", parameters=(Parameter("a", "1"),)) for m, f in pairs]
    found = distinct(specs)
    assert len({one.name for one in found}) == len(found)
    assert len({one.directory for one in found}) == len(found)
    images = {(image_of(one), one.selected.model.name, one.dockerfile.relative) for one in found}  # type: ignore[union-attr]
    assert len({name for name, _, _ in images}) == len(images)


@given(st.lists(st.text("a/.2", min_size=1, max_size=4), max_size=20))
def test_directories_are_never_shared(names: list[str]) -> None:
    directory_of = DirectoryNames()
    found = [directory_of(name) for name in names]
    assert len(set(found)) == len(names)


@given(
    st.sets(st.sampled_from(["d", "d.a", "d.a.Dockerfile", "d.a.Dockerfile.Dockerfile", "d.b.Dockerfile"]))
)
def test_bases_are_never_shared(names: set[str]) -> None:
    assert len(set(bases_of(names).values())) == len(names)
