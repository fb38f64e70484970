"""Progress in GitHub Actions: groups, annotations, the summary, and no foreign commands."""

import re
from pathlib import Path

import pytest
from hypothesis import given

from ci.report.model import Case, Check, Report
from ci.verdict import Outcome
from tests.unit import report_samples
from tests.unit.report_players import GITHUB, told
from tests.unit.report_samples import START, any_report, unhurried

pytestmark = pytest.mark.unit


def test_github_groups_and_annotates() -> None:
    """GitHub's log isn't folded by check, or failures aren't shown on the job's page."""
    lines = told(report_samples.bad(), GITHUB).splitlines()
    commands = [line for line in lines if line.startswith("::")]
    assert commands[:6] == [
        "::group::readiness",
        "::endgroup::",
        "::group::versions",
        "::endgroup::",
        "::error title=versions%3A sglang::expected 0.5.14, the server says 0.5.23",
        "::group::smoke",
    ]
    assert "::warning title=smoke%3A prefix cache::cached_tokens is missing" in commands[-1]
    assert any(line.endswith("readiness: PASSED in 25.6 s, 4 passed") for line in lines)


def test_github_annotates_what_no_case_shows() -> None:
    """A check that ran nothing, or an interrupted run, leaves no annotation."""
    text = told(report_samples.empty(), GITHUB)
    assert "\n::error title=smoke::no case ran\n" in text
    assert "\n::error title=sglang-ci::interrupted by SIGINT\n" in text


@unhurried
@given(any_report())
def test_github_obeys_nobody_else(report: Report) -> None:
    """A server's words become commands to GitHub's runner."""
    hostile = "\n::add-mask::x\r::set-env name=a::b ##[add-path]/x %0A"
    case = Case(name=hostile, outcome=Outcome.FAILED, message=hostile)
    check = Check(name=hostile, started=START, seconds=0, cases=(case,))
    text = told(report.model_copy(update={"checks": (*report.checks, check)}), GITHUB)
    known = re.compile(r"::(group|endgroup|error|warning)( title=[^:,]*)?::")
    for line in text.split("\n"):
        assert known.match(line) if line.lstrip().startswith("::") else "##[" not in line
    assert "%250A" in text


def test_the_jobs_summary_is_appended(tmp_path: Path) -> None:
    """The job's page lacks the summary, or one of an earlier step is lost."""
    summary = tmp_path / "summary.md"
    summary.write_text("# earlier\n")
    told(report_samples.good(), {**GITHUB, "GITHUB_STEP_SUMMARY": str(summary)})
    assert summary.read_text().startswith("# earlier\n## ✅ sglang-ci: PASSED\n")


def test_a_summary_that_cant_be_written_is_only_noted(tmp_path: Path) -> None:
    """A run that passed ends in a traceback for want of a summary page."""
    text = told(report_samples.good(), {**GITHUB, "GITHUB_STEP_SUMMARY": str(tmp_path)})
    assert "the job's summary was not written" in text.splitlines()[-1]
