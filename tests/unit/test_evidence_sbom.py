"""The bill of materials: valid CycloneDX, whole, and the same for the same image."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import given, settings
from hypothesis import strategies as st
from packageurl import PackageURL

from ci.image.installed import installed
from ci.image.listing import Distribution, Installed, Package, System
from ci.release.evidence.sbom import KIND, bill
from ci.release.statement import make, read
from tests.unit.statements import DIGEST, IMAGE, NOW

pytestmark = pytest.mark.unit

VALIDATOR = JsonStrictValidator(SchemaVersion.V1_6)
DEBIAN = System(id="debian", version_id="13")
DISTRIBUTIONS = (
    Distribution(name="Jinja2", version="3.1.6", licences=("BSD-3-Clause",)),
    Distribution(name="torch", version="2.11.0+cu130", licences=("BSD", "MIT")),
    Distribution(name="own_code", version="1.0", indexed=False, licences=("Apache-2.0 OR MIT",)),
)
PACKAGES = (
    Package(name="libssl3", version="3.0.15-1~deb12u1", architecture="amd64", source="openssl"),
    Package(name="adduser", version="3.134", architecture="all"),
)


def made(
    distributions: tuple[Distribution, ...] = DISTRIBUTIONS,
    packages: tuple[Package, ...] = PACKAGES,
    system: System = DEBIAN,
) -> dict[str, Any]:
    """Return the bill of an image that has this installed."""
    there = Installed(
        schema_version="1.0",
        python="3.11.9",
        os=system,
        distributions=distributions,
        packages=packages,
    )
    return bill(IMAGE, there, NOW)


def component(document: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a component of a bill by its name."""
    found = [each for each in document["components"] if each["name"] == name]
    assert len(found) == 1
    return dict(found[0])


def invalid(document: dict[str, Any]) -> object:
    """Return what CycloneDX's own schema, read strictly, finds wrong."""
    return VALIDATOR.validate_str(json.dumps(document))


def test_a_bill_is_valid_cyclonedx() -> None:
    """Tools that read bills of materials refuse ours."""
    document = made()
    assert invalid(document) is None
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    assert invalid(document | {"specVersion": 7}) is not None


@pytest.mark.long
def test_what_really_is_installed_makes_a_valid_bill() -> None:
    """A real environment has something that samples lack, and no bill can be made of it."""
    there = Installed.model_validate_json(json.dumps(installed()))
    document = bill(IMAGE, there, NOW)
    assert invalid(document) is None
    names = {each["name"] for each in document["components"]}
    assert {"cyclonedx-python-lib", "pytest"} <= names
    assert len(document["components"]) >= len({one.name for one in there.packages})


def test_a_bill_is_about_the_image_by_its_digest() -> None:
    """Nobody can tell which image a bill belongs to."""
    image = made()["metadata"]["component"]
    assert (image["type"], image["name"], image["version"]) == ("container", "team/image", DIGEST)
    purl = PackageURL.from_string(image["purl"])
    assert (purl.type, purl.name, purl.version) == ("oci", "image", DIGEST)
    assert purl.qualifiers == {"repository_url": "registry.example:5000/team/image"}


@pytest.mark.parametrize(
    ("name", "purl"),
    [
        ("jinja2", "pkg:pypi/jinja2@3.1.6"),
        ("torch", "pkg:pypi/torch@2.11.0%2Bcu130"),
        ("own-code", "pkg:pypi/own-code@1.0"),
        (
            "libssl3",
            "pkg:deb/debian/libssl3@3.0.15-1~deb12u1?arch=amd64&distro=debian-13&upstream=openssl",
        ),
        ("adduser", "pkg:deb/debian/adduser@3.134?arch=all&distro=debian-13"),
    ],
)
def test_a_component_is_named_as_scanners_look_it_up(name: str, purl: str) -> None:
    """A scanner doesn't recognise what is installed, and finds nothing wrong with it."""
    assert component(made(), name)["purl"] == purl


def test_packages_of_another_system_are_that_systems() -> None:
    """Ubuntu's packages are looked up as Debian's."""
    document = made((), PACKAGES[1:], System(id="ubuntu", version_id="24.04"))
    purl = "pkg:deb/ubuntu/adduser@3.134?arch=all&distro=ubuntu-24.04"
    assert component(document, "adduser")["purl"] == purl
    unnamed = component(made((), PACKAGES[1:], System()), "adduser")
    assert unnamed["purl"] == "pkg:deb/debian/adduser@3.134?arch=all"


def test_licences_stand_by_their_spdx_names() -> None:
    """Licences can't be told from each other, or an expression makes the bill invalid."""
    document = made()
    assert component(document, "jinja2")["licenses"] == [{"license": {"id": "BSD-3-Clause"}}]
    assert component(document, "own-code")["licenses"] == [{"expression": "Apache-2.0 OR MIT"}]
    named = [each["license"] for each in component(document, "torch")["licenses"]]
    assert sorted(map(str, named)) == ["{'id': 'MIT'}", "{'name': 'BSD'}"]
    assert "licenses" not in component(document, "adduser")


def test_what_came_from_no_index_is_marked() -> None:
    """A project's own code is looked up as somebody else's of the same name."""
    marked = [each["name"] for each in made()["components"] if "properties" in each]
    assert marked == ["own-code"]


def test_a_bill_is_the_same_for_the_same_image() -> None:
    """The evidence on one image differs each time it is made."""
    turned = made(DISTRIBUTIONS[::-1], PACKAGES[::-1])
    assert json.dumps(turned) == json.dumps(made())
    other = bill(
        IMAGE.at(f"sha256:{'b2' * 32}"),
        Installed(schema_version="1.0", python="3", distributions=()),
        NOW + timedelta(seconds=1),
    )
    assert other["serialNumber"] != made()["serialNumber"]


def test_what_is_installed_twice_is_one_component() -> None:
    """A bill with the same component twice is invalid."""
    twice = (*DISTRIBUTIONS, DISTRIBUTIONS[0], Distribution(name="jinja2", version="3.1.2"))
    versions = [each["version"] for each in made(twice)["components"] if each["name"] == "jinja2"]
    assert sorted(versions) == ["3.1.2", "3.1.6"]
    assert invalid(made(twice)) is None


def test_a_bill_is_evidence_with_its_time() -> None:
    """The age of a bill can't be told."""
    found = read(make(IMAGE, KIND.predicate_type, made()))
    assert (found.kind, found.created, found.predicate) == ("sbom", NOW, made())


WORD = st.text(min_size=1).filter(lambda word: word.replace("/", "").strip())
LICENCES = st.lists(st.sampled_from(["MIT", "mit", "MIT OR", "GPL (2+)", "Apache-2.0 AND MIT"]))


@given(
    st.builds(Distribution, name=WORD, version=WORD, licences=LICENCES.map(tuple)),
    st.builds(Package, name=WORD, version=WORD, architecture=st.text(), source=st.text()),
    st.builds(System, id=st.text(), version_id=st.text()),
)
@settings(max_examples=60, deadline=None)
def test_whatever_is_installed_makes_a_valid_bill(
    distribution: Distribution, package: Package, system: System
) -> None:
    """A strange name or licence keeps a whole image from being released."""
    assert invalid(made((distribution,), (package,), system)) is None
