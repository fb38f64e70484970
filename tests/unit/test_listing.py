"""What an image's interpreter tells of its machine and of SGLang, and older forms of it."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import pytest

from ci.errors import UsageError
from ci.image.installed import installed
from ci.image.listing import Installed, SglangEntry

pytestmark = pytest.mark.unit

DRIVER = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue Sep 23 10:11:16 UTC 2025\n"


def put(folder: Path, **files: str) -> None:
    """Write files below a folder, `__` for `/` and a last `_` for a dot in their names."""
    for name, content in files.items():
        at = folder / name.replace("__", "/")
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_text(content)


def dist(site: Path, name: str, told: str = "1.0", **files: str) -> Path:
    """Install a distribution into a folder, and return its metadata's folder."""
    at = site / f"{name}-{told}.dist-info"
    put(at, METADATA=f"Metadata-Version: 2.4\nName: {name}\nVersion: {told}\n", **files)
    return at


def listed(root: Path, *sites: str) -> Installed:
    """Return what is listed below a folder; `site` is where Python's distributions are."""
    found = installed(root, [str(root / site) for site in sites or ("site",)])
    return Installed.model_validate_json(json.dumps(found))


@pytest.mark.parametrize(
    ("text", "cuda"),
    [
        ("cuda: Optional[str] = '13.0'\nhip = None\n", "13.0"),
        ("__version__ = '2.1'\ncuda = \"12.9\"\n", "12.9"),
        ("cuda: Optional[str] = None\n", ""),
        ("", ""),
    ],
)
def test_the_cuda_that_torch_was_built_for(tmp_path: Path, text: str, cuda: str) -> None:
    """The CUDA of the image is unknown, or torch has to be imported to learn it."""
    dist(tmp_path / "site", "torch")
    assert listed(tmp_path).cuda == ""
    (tmp_path / "site/torch").mkdir()
    (tmp_path / "site/torch/version.py").write_text(text)
    assert listed(tmp_path).cuda == cuda


def test_the_driver_of_the_machine(tmp_path: Path) -> None:
    """The driver under which an image is proven isn't known."""
    assert listed(tmp_path).driver == ""
    put(tmp_path, proc__driver__nvidia__version=DRIVER)
    found = listed(tmp_path)
    assert found.versions == {"python": found.python, "driver": "580.95.05"}


def test_of_two_with_one_name_the_first_counts(tmp_path: Path) -> None:
    """A package that another one hides is taken for the one that runs."""
    dist(tmp_path / "site", "sgl_kernel", "0.4.5")
    dist(tmp_path / "later", "sgl-kernel", "0.9")
    for order, expected in ((("site", "later"), "0.4.5"), (("later", "site"), "0.9")):
        found = listed(tmp_path, *order)
        assert found.versions["sgl-kernel"] == expected
        assert sorted(one.version for one in found.distributions) == ["0.4.5", "0.9"]


def test_sglang_says_what_it_is(tmp_path: Path) -> None:
    """An image whose SGLang doesn't fit together can't be told from a whole one."""
    site = tmp_path / "site"
    at = dist(site, "sglang", "0.5.23")
    with (at / "METADATA").open("a") as metadata:
        metadata.write('Requires-Dist: torch==2.14.1\nRequires-Dist: pytest; extra == "test"\n')
    (at / "entry_points.txt").write_text("[console_scripts]\nsglang = a:b\nother = a:b\n")
    (at / "RECORD").write_text("../bin/sglang,,\n../bin/other,,\nsglang/bin,,\n")
    (at / "direct_url.json").write_text('{"url": "x", "vcs_info": {"commit_id": "ab12345"}}')
    code = "__version__ = version = '0.5.22'\n__commit_id__ = commit_id = 'g1234567'\n"
    put(site, sglang__x=code)
    (site / "sglang/x").rename(site / "sglang/_version.py")
    put(tmp_path, bin__other="")
    assert listed(tmp_path).sglang == SglangEntry(
        code_version="0.5.22",
        commits={"_version.py": "g1234567", "direct_url.json": "ab12345"},
        requires=("torch==2.14.1", 'pytest; extra == "test"'),
        commands={"sglang": False, "other": True},
    )


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("version.py", '__version__ = "0.5.5"\n', "0.5.5"),
        ("version.py", 'try:\n    __version__ = "0.0.0.dev0"\nexcept X:\n    pass\n', ""),
        ("_version.py", "__version__: str\n__commit_id__ = commit_id = None\n", ""),
        ("other.py", '__version__ = "9"\n', ""),
    ],
)
def test_the_version_in_its_code_is_read_and_not_run(
    tmp_path: Path, name: str, text: str, told: str
) -> None:
    """A fallback for an unbuilt tree counts as the version, or SGLang is imported to ask it."""
    dist(tmp_path / "site", "sglang")
    (tmp_path / "site/sglang").mkdir()
    (tmp_path / "site/sglang" / name).write_text(text)
    own = listed(tmp_path).sglang
    assert own is not None
    assert (own.code_version, own.commits) == (told, {})


def test_the_commit_of_the_images_own_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `sglang version` prints in an image isn't known."""
    dist(tmp_path / "site", "sglang")
    monkeypatch.setenv("SGLANG_GIT_COMMIT", "ab12345")
    own = listed(tmp_path).sglang
    assert own is not None
    assert own.commits["SGLANG_GIT_COMMIT"] == "ab12345"


def test_without_sglang_nothing_is_said_of_it(tmp_path: Path) -> None:
    """An image of another engine can't be listed."""
    dist(tmp_path / "site", "vllm")
    assert listed(tmp_path).sglang is None


def test_markers_are_those_of_this_interpreter() -> None:
    """A demand for another machine counts here, or one for this machine doesn't."""
    from packaging.markers import default_environment

    markers = installed(sizes=False)["markers"]
    assert isinstance(markers, dict)
    assert markers.items() <= dict(default_environment()).items()
    assert {"sys_platform", "platform_machine", "python_version"} <= markers.keys()


def test_sizes_can_be_left_out() -> None:
    """A server's start on this host waits until the files of all packages are weighed."""
    found = Installed.model_validate(installed(sizes=False))
    assert {one.bytes for one in found.distributions} == {None}
    assert found.versions["pytest"] == version("pytest")


def test_what_earlier_releases_listed_is_read(tmp_path: Path) -> None:
    """An inventory that was kept with a release can't be compared any more."""
    file = tmp_path / "inventory.json"
    file.write_text(json.dumps({"SGL_Kernel": "0.4.5", "torch": 2, "cuda": "13.0"}))
    found = Installed.load(file, versions_do=True)
    assert found.versions == {"sgl-kernel": "0.4.5", "torch": "2", "cuda": "13.0"}
    with pytest.raises(UsageError, match=r"not what installed\.py prints: schema_version: "):
        Installed.load(file)


@pytest.mark.parametrize("content", ["", "[]", "{", "\x00", "null", '{"": "1"}', "[" * 100_000])
@pytest.mark.parametrize("versions_do", [False, True])
def test_what_is_no_listing_is_a_usage_error(
    tmp_path: Path, content: str, *, versions_do: bool
) -> None:
    """A wrong file is taken for an image that has nothing installed."""
    file = tmp_path / "inventory.json"
    file.write_text(content)
    for path in (file, tmp_path / "missing", tmp_path):
        with pytest.raises(UsageError, match=r"not what installed\.py prints|can't be read"):
            Installed.load(path, versions_do=versions_do)
