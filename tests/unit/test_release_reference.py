"""References and tags made by template."""

from __future__ import annotations

import pytest

from ci.errors import UsageError
from ci.registry.reference import Reference, render_tag

pytestmark = pytest.mark.unit

DIGEST = f"sha256:{'0a' * 32}"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("localhost/image", ("localhost", "image", "", "")),
        ("localhost:5000/a/b:1.0", ("localhost:5000", "a/b", "1.0", "")),
        ("[::1]:5000/a:x", ("[::1]:5000", "a", "x", "")),
        ("ghcr.io/team/my_image--x", ("ghcr.io", "team/my_image--x", "", "")),
        (f"ghcr.io/a@{DIGEST}", ("ghcr.io", "a", "", DIGEST)),
        (f"ghcr.io/a:v1@{DIGEST}", ("ghcr.io", "a", "v1", DIGEST)),
        ("docker.io/python:3", ("docker.io", "library/python", "3", "")),
    ],
)
def test_references_are_read_and_written(text: str, parts: tuple[str, ...]) -> None:
    """A part of a reference is lost, or another image is meant."""
    reference = Reference.parse(text)
    found = (reference.registry, reference.repository, reference.tag, reference.digest)
    assert found == parts
    assert str(reference) == text.replace("io/python", "io/library/python")
    assert Reference.parse(str(reference)) == reference


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("image:v1", "it is a registry and a repository"),
        ("team/image:v1", "the registry has to be named"),
        ("https://ghcr.io/team/image", "without a scheme"),
        ("ghcr.io/Team/image", "lower-case"),
        ("ghcr.io/a//b", "is no repository"),
        ("ghcr.io/a/", "is no repository"),
        (f"ghcr.io/{'a' * 256}", "is no repository"),
        ("ghcr.io/a:", "is no tag"),
        (f"ghcr.io/a:{'x' * 129}", "is no tag"),
        ("ghcr.io/a:-x", "is no tag"),
        ("ghcr.io/a:x\n", "is no tag"),
        ("gh cr.io/a", "is no host"),
        ("ghcr.io:port/a", "is no host"),
        ("ghcr.io/a@sha256:123", "after its '@'"),
        ("", "it is a registry"),
    ],
)
def test_what_is_no_reference_is_refused(text: str, problem: str) -> None:
    """A typing mistake goes to the registry, or the line doesn't say what is wrong."""
    with pytest.raises(UsageError, match=problem) as caught:
        Reference.parse(text)
    assert "\n" not in str(caught.value)


def test_a_password_in_a_reference_is_not_repeated() -> None:
    """A secret that was typed into a reference stands in a log."""
    with pytest.raises(UsageError) as caught:
        Reference.parse("https://robot:hunter2@ghcr.io/team/image:v1")
    assert "hunter2" not in str(caught.value)


def test_other_references_of_the_same_repository() -> None:
    """A tag and a digest of two images stand in one reference."""
    reference = Reference.parse(f"ghcr.io/a:v1@{DIGEST}")
    assert str(reference.tagged("v2")) == "ghcr.io/a:v2"
    assert str(reference.at(DIGEST)) == f"ghcr.io/a@{DIGEST}"
    assert reference.pick("v2") == reference.tagged("v2")
    assert reference.pick(DIGEST) == reference.at(DIGEST)
    for wrong in ("", "a/b", "sha256:12"):
        with pytest.raises(UsageError, match="is no"):
            reference.pick(wrong)


FIELDS = {"version": "0.5.23+cu128.post1", "revision": "abc1234", "model": ""}


@pytest.mark.parametrize(
    ("template", "tag"),
    [
        ("{version}-{revision}", "0.5.23-cu128.post1-abc1234"),
        ("v{revision}", "vabc1234"),
        ("stable", "stable"),
        ("a{{b", None),
        ("", None),
    ],
)
def test_tags_by_template(template: str, tag: str | None) -> None:
    """A tag isn't what the template says, or is one that no registry takes."""
    if tag is None:
        with pytest.raises(UsageError, match="which is no tag"):
            render_tag(template, FIELDS)
    else:
        assert render_tag(template, FIELDS) == tag


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{versoin}", "unknown field 'versoin'; known: model, revision, version"),
        ("{model}", "field 'model' is empty here"),
        ("{}", "unknown field ''"),
        ("{version.real}", "unknown field 'version.real'"),
        ("{version!r}", "a bare name"),
        ("{version:>9}", "a bare name"),
        ("{version", "expected '}'"),
    ],
)
def test_wrong_templates_are_refused(template: str, problem: str) -> None:
    """An image is published under a tag that says nothing."""
    with pytest.raises(UsageError, match=problem) as caught:
        render_tag(template, FIELDS)
    assert template in str(caught.value)
