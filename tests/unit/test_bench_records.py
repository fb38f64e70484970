"""Raw records: written and read back, whatever they hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from ci.bench import records
from ci.bench.metrics import summarise
from ci.bench.records import RequestRecord
from ci.errors import UsageError
from tests.unit.bench_samples import failed, record

pytestmark = pytest.mark.unit

MADE = (
    record(0, 0.25, itls=(0.5, 0.125), intended=0.125, connecting=0.0625, cached_tokens=0),
    record(1, 1.5, output="<ü>", output_ids=(1, 2, 3), counts=()),
    failed(2, 2.0),
)


@pytest.mark.parametrize("name", ["run.jsonl", "run.jsonl.gz"])
def test_records_come_back_as_they_were(name: str, tmp_path: Path) -> None:
    """A figure computed later, from the file, isn't the one of the run."""
    records.write(MADE, tmp_path / name)
    found = records.read(tmp_path / name)
    assert [one.index for one in found] == [0, 1, 2]
    assert found[2].error is MADE[2].error
    assert found[0].cached_tokens == 0
    assert summarise(found, 3) == summarise([rounded(one) for one in MADE], 3)


def rounded(one: RequestRecord) -> RequestRecord:
    """Return a record with its times in whole microseconds."""
    return records._record(records._line(one), "here")


def test_a_file_is_one_object_a_line(tmp_path: Path) -> None:
    """Other tools can't read the records line by line."""
    path = tmp_path / "run.jsonl"
    records.write(MADE, path)
    lines = path.read_text().splitlines()
    assert len(lines) == len(MADE)
    assert '"times":[0.35,0.85,0.975]' in lines[0]
    assert "error" not in lines[0]


@pytest.mark.parametrize("line", ["", "[]", "{", '{"index": 1}', '{"error": "odd"}'])
def test_a_line_that_is_no_record_is_named(line: str, tmp_path: Path) -> None:
    """A broken file is a traceback, or is read as far as it goes."""
    path = tmp_path / "run.jsonl"
    records.write(MADE[:1], path)
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(UsageError, match=r"run\.jsonl:2: no record"):
        records.read(path)


def test_a_file_of_another_version_is_read(tmp_path: Path) -> None:
    """A later version's additional field makes its files unreadable."""
    path = tmp_path / "run.jsonl"
    path.write_text('{"index":0,"asked_tokens":1,"started":0,"ended":1,"new":true}\n')
    assert records.read(path)[0].ended == 1
