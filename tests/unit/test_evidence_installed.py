"""The script that an image's own interpreter runs, and what it prints, read back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from ci.errors import UsageError
from ci.image import installed as script
from ci.image.installed import installed
from ci.image.listing import Installed

pytestmark = pytest.mark.unit

STATUS = """\
Package: libssl3
Status: install ok installed
Source: openssl (3.0.15-1)
Installed-Size: 6000
Version: 3.0.15-1
Architecture: amd64
Description: Secure Sockets Layer toolkit
 Version: 9, as a description may say
 .

Package: removed
Status: deinstall ok config-files
Version: 1.0
Architecture: all

Package: half
Status: install ok half-installed
Version: 1.0

Package: held
Status: hold ok installed
Installed-Size: -1
Version: 1:2.0~rc1
Architecture: arm64

Package: nameless-version
Status: install ok installed
"""


def distribution(folder: Path, name: str, told: str, **files: str) -> None:
    """Install a distribution of that name into a folder, with its metadata's further lines."""
    at = folder / f"{name}-1.0.dist-info"
    at.mkdir(parents=True)
    (at / "METADATA").write_text(f"Metadata-Version: 2.4\n{told}", encoding="utf-8")
    for file, content in files.items():
        (at / file.replace("_json", ".json")).write_text(content)


def listing(**parts: object) -> str:
    """Return what the script prints where nothing is installed, with other parts."""
    return json.dumps({"schema_version": "1.0", "python": "3", "distributions": []} | parts)


def found(tmp_path: Path) -> Installed:
    """Return what the script finds below a folder."""
    listed = installed(tmp_path, [str(tmp_path / "python")])
    return Installed.model_validate_json(json.dumps(listed))


def test_it_runs_alone_anywhere_and_changes_nothing(tmp_path: Path) -> None:
    """An image's bare interpreter can't say what it has, or leaves something in the image."""
    alone, elsewhere = tmp_path / "alone", tmp_path / "elsewhere"
    for folder in (alone, elsewhere):
        folder.mkdir()
    (alone / "installed.py").write_bytes(Path(script.__file__).read_bytes())
    (elsewhere / "json.py").write_text("raise SystemExit('the current folder is imported')")
    before = sorted(tmp_path.rglob("*"))
    argv = [sys.executable, str(alone / "installed.py")]
    printed = subprocess.check_output(argv, cwd=elsewhere, env={}, timeout=60)
    assert sorted(tmp_path.rglob("*")) == before
    there = Installed.model_validate_json(printed)
    assert there.chosen(["pytest"])["pytest"] == version("pytest")
    assert there.python == ".".join(map(str, sys.version_info[:3]))
    printed.decode("ascii")


@pytest.mark.long
def test_it_finds_the_same_again() -> None:
    """The same image has another bill of materials each time."""
    assert json.dumps(installed()) == json.dumps(installed())


def test_debian_packages_are_those_that_are_installed(tmp_path: Path) -> None:
    """Packages that were removed are listed, or held ones missing, or a description's words."""
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text(STATUS)
    packages = [tuple(one.model_dump().values()) for one in found(tmp_path).packages]
    assert packages == [
        ("held", "1:2.0~rc1", "arm64", "", None),
        ("libssl3", "3.0.15-1", "amd64", "openssl", 6000 * 1024),
    ]


def test_a_system_without_dpkg_has_no_packages(tmp_path: Path) -> None:
    """Images that are no Debian have no bill of materials at all."""
    there = found(tmp_path)
    assert (there.packages, there.distributions) == ((), ())
    assert there.os.id == ""


@pytest.mark.parametrize("quote", ["", '"', "'"])
def test_the_system_says_its_name(tmp_path: Path, quote: str) -> None:
    """Debian's and Ubuntu's packages of the same version are taken for each other."""
    (tmp_path / "etc").mkdir()
    lines = (f"ID={quote}ubuntu{quote}", f"VERSION_ID={quote}24.04{quote}", "# PRETTY", "X")
    (tmp_path / "etc/os-release").write_text("\n".join(lines))
    system = found(tmp_path).os
    assert (system.id, system.version_id, system.pretty_name) == ("ubuntu", "24.04", "")


@pytest.mark.parametrize(
    ("told", "licences"),
    [
        ("License-Expression: MIT OR Apache-2.0\nLicense: x\n", ("MIT OR Apache-2.0",)),
        ("License: BSD-3-Clause\n", ("BSD-3-Clause",)),
        ("Classifier: License :: OSI Approved :: MIT License\n", ("MIT License",)),
        (
            "License: MIT License\nClassifier: License :: OSI Approved :: MIT License\n",
            ("MIT License",),
        ),
        ("License: UNKNOWN\nClassifier: Programming Language :: Python\n", ()),
        (f"License: {'All rights ' * 50}\n", ()),
        ("License: line\n  another line\n", ()),
        ("", ()),
    ],
)
def test_licences_are_as_metadata_name_them(
    tmp_path: Path, told: str, licences: tuple[str, ...]
) -> None:
    """A licence is missing from the bill of materials, or its whole text stands there."""
    distribution(tmp_path / "python", "x", f"Name: x\nVersion: 1.0\n{told}")
    assert found(tmp_path).distributions[0].licences == licences


def test_what_came_from_no_index_is_told(tmp_path: Path) -> None:
    """A project's own code is looked up as somebody else's of the same name."""
    distribution(tmp_path / "python", "x", "Name: x\nVersion: 1.0\n", direct_url_json="{}")
    distribution(tmp_path / "python", "y", "Name: y\nVersion: 1.0\n")
    assert [one.indexed for one in found(tmp_path).distributions] == [False, True]


def test_a_distribution_weighs_what_its_record_lists(tmp_path: Path) -> None:
    """A package's size counts a file twice, one that is gone, or what a link leads to."""
    folder = tmp_path / "python"
    record = 'a.py,,\n"b,c.py",,\na.py,,\ngone.py,,\nlink,,\nx,,\n../out.bin,,\n\n\x00,,\n'
    distribution(folder, "x", "Name: x\nVersion: 1.0\n", RECORD=record)
    for name, count in (("a.py", 3), ("b,c.py", 40), ("uncounted", 500), ("../out.bin", 6000)):
        (folder / name).write_bytes(b"x" * count)
    (folder / "link").symlink_to("uncounted")
    (folder / "x").mkdir()
    assert found(tmp_path).distributions[0].bytes == 6043


@pytest.mark.parametrize("record", [None, b"", b"\xff\xfe", b'"' + b"x" * 200_000])
def test_without_a_record_no_size_is_known(tmp_path: Path, record: bytes | None) -> None:
    """A package of unknown size weighs nothing, or hides all others."""
    distribution(tmp_path / "python", "x", "Name: x\nVersion: 1.0\n")
    if record is not None:
        (tmp_path / "python/x-1.0.dist-info/RECORD").write_bytes(record)
    assert [one.bytes for one in found(tmp_path).distributions] == [None]


def test_a_listing_of_before_has_no_sizes() -> None:
    """What an earlier version's script printed can't be read any more."""
    old = Installed.model_validate_json(listing(distributions=[{"name": "x", "version": "1"}]))
    assert old.distributions[0].bytes is None


def test_broken_metadata_leave_the_rest_readable(tmp_path: Path) -> None:
    """One broken distribution hides all others."""
    distribution(tmp_path / "python", "a", "Name: a\n")
    distribution(tmp_path / "python", "b", "Version: 1.0\n")
    distribution(tmp_path / "python", "c", "Name: c\nVersion: 1.0\nAuthor: \u00fc\ud7ff\n")
    (tmp_path / "python/d-1.0.dist-info").mkdir()
    assert [one.name for one in found(tmp_path).distributions] == ["c"]


def test_versions_are_found_however_a_name_is_spelt(tmp_path: Path) -> None:
    """The record of a release lacks the versions that matter most."""
    distribution(tmp_path / "python", "x", "Name: SGL_Kernel\nVersion: 0.4.5\n")
    there = found(tmp_path)
    assert there.chosen(["sgl-kernel", "torch"]) == {
        "python": there.python,
        "sgl-kernel": "0.4.5",
    }


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{",
        "\x00",
        "null",
        "{}",
        listing(schema_version="2.0"),
        listing(distributions=[{"name": "x"}]),
        listing(distributions=[{"name": "", "version": "1"}]),
        listing(distributions=[{"name": "/", "version": "1"}]),
    ],
)
def test_what_it_did_not_print_is_a_usage_error(tmp_path: Path, content: str) -> None:
    """A wrong file is taken for an image that has nothing installed."""
    file = tmp_path / "installed.json"
    file.write_text(content)
    with pytest.raises(UsageError, match=r"installed\.json: not what installed\.py prints"):
        Installed.load(file)


def test_a_file_that_is_missing_is_a_usage_error(tmp_path: Path) -> None:
    """A mistyped name ends in a traceback."""
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(UsageError, match="can't be read") as caught:
            Installed.load(path)
        assert os.fspath(path) in str(caught.value)
