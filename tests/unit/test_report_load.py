"""Reading a report back: nothing lost, nothing believed that cases don't show."""

import json
from pathlib import Path

import pytest
from hypothesis import example, given

from ci.errors import UsageError
from ci.report.model import Report
from ci.report.write import load, to_json
from ci.verdict import Verdict
from tests.unit import report_samples
from tests.unit.report_samples import any_report, unhurried

pytestmark = pytest.mark.unit


@unhurried
@given(any_report())
@example(report_samples.good().model_copy(update={"facts": {"\ud800": "\udfff"}}))
def test_json_keeps_every_word_and_verdict(report: Report) -> None:
    """A report that is read back says something else than when it was written."""
    again = Report.model_validate(json.loads(to_json(report)))
    assert again == report
    assert again.verdict is report.verdict
    assert again.cause == report.cause


def test_verdicts_in_a_file_are_not_believed(tmp_path: Path) -> None:
    """Whoever edits a file turns a failed report into one that PASSED."""
    text = to_json(report_samples.bad()).replace('"verdict": "FAILED"', '"verdict": "PASSED"')
    (tmp_path / "report.json").write_text(text)
    report = load(tmp_path / "report.json")
    assert report.verdict is Verdict.FAILED
    assert report.checks[2].verdict is Verdict.FAILED


def test_a_newer_minor_version_is_read(tmp_path: Path) -> None:
    """Reports of the next release can't be read although only fields were added."""
    data = json.loads(to_json(report_samples.good())) | {"schema_version": "1.9", "new": 1}
    (tmp_path / "report.json").write_text(json.dumps(data))
    assert load(tmp_path).verdict is Verdict.PASSED


def test_a_report_from_before_figures_is_read(tmp_path: Path) -> None:
    """Past reports can't be read since figures and plots were added."""
    data = json.loads(to_json(report_samples.good())) | {"schema_version": "1.0"}
    for check in data["checks"]:
        del check["figures"], check["plots"]
    (tmp_path / "report.json").write_text(json.dumps(data))
    assert [check.figures for check in load(tmp_path).checks] == [()] * len(data["checks"])


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "can't be read: No such file"),
        ("{", "isn't JSON"),
        ("\udcff", "isn't JSON"),
        ("[" * 100_000, "isn't JSON"),
        ("[]", "isn't a report: no schema_version"),
        ('{"schema_version": 1}', "isn't a report: no schema_version"),
        ('{"schema_version": "2.0"}', "has schema version 2.0, and 1.2 is read here"),
        ('{"schema_version": "1.0"}', "isn't a report: started: Field required"),
        (
            '{"schema_version": "1.0", "started": "2026-11-20T09:30:00"}',
            "isn't a report: started: Input should have timezone info",
        ),
        (
            '{"schema_version": "1.0", "started": 0, "finished": 0, "checks": '
            '[{"name": "x", "started": 0, "seconds": 0, "cases": [{"outcome": "GOOD"}]}]}',
            "isn't a report: checks.0.cases.0.name: Field required",
        ),
        (
            '{"schema_version": "1.0", "started": 0, "finished": 0, "checks": '
            '[{"name": "x", "started": 0, "seconds": Infinity}]}',
            "isn't a report: checks.0.seconds: Input should be a finite number",
        ),
    ],
)
def test_what_is_no_report_is_refused(tmp_path: Path, content: str | None, problem: str) -> None:
    """A broken or foreign file ends in a traceback, or is taken for a report."""
    file = tmp_path / "report.json"
    if content is not None:
        file.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(UsageError) as caught:
        load(tmp_path)
    assert str(caught.value).startswith(f"{file}: {problem}")
