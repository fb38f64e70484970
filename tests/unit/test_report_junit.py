"""JUnit XML: what a CI's reader makes of a report."""

from datetime import datetime
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from ci.report import junit
from ci.report.model import Case, Check, Report
from ci.verdict import Outcome, Verdict
from tests.unit import report_samples
from tests.unit.report_samples import HOSTILE, START, any_report, unhurried

pytestmark = pytest.mark.unit

COUNTS = frozenset({"tests", "failures", "errors"})
RESULT = frozenset({"type", "message"})
ATTRIBUTES = {
    "testsuites": COUNTS | {"name", "time"},
    "testsuite": COUNTS | {"name", "skipped", "time", "timestamp"},
    "testcase": frozenset({"name", "classname", "time"}),
    "failure": RESULT,
    "error": RESULT,
    "skipped": RESULT,
    "property": frozenset({"name", "value"}),
    "properties": frozenset(),
    "system-out": frozenset(),
}
"""What Jenkins' junit-10.xsd allows of each element, as far as it is used here."""

CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"properties", "testcase", "system-out"},
    "testcase": {"failure", "error", "skipped", "system-out"},
    "properties": {"property"},
}


def tree(report: Report) -> ET.Element:
    """Return the XML of `report` as elements."""
    return ET.fromstring(junit.render(report).encode())  # noqa: S314 - we have just made it


def read(report: Report) -> dict[str, TestSuite]:
    """Return the suites that a JUnit reader finds in `report`, by name."""
    xml = JUnitXml.fromstring(junit.render(report).encode())
    return {suite.name: suite for suite in xml}


def results(suite: TestSuite) -> dict[str, list[type]]:
    """Return the kinds of result of each case in `suite`."""
    cases = [case for case in suite if isinstance(case, TestCase)]
    return {case.name: [type(result) for result in case.result] for case in cases}


def test_a_reader_finds_every_case() -> None:
    """A CI shows other cases, outcomes, times or facts than were seen."""
    suites = read(report_samples.bad())
    found = results(suites["smoke"])
    assert found["generate[0]"] == []
    assert found["stream equals generate"] == [Failure]
    assert found["prefix cache"] == [Error]
    assert found["embeddings"] == [Skipped]
    assert suites["smoke"].time == 6.2
    assert datetime.fromisoformat(suites["smoke"].timestamp).tzinfo is not None
    fact = tree(report_samples.bad()).find(".//testsuite[@name='versions']//*[@name='torch']")
    assert fact is not None
    assert fact.get("value") == "2.11.0+cpu"


def test_details_and_log_survive() -> None:
    """Whoever reads the failure in a CI has to guess why."""
    suite = read(report_samples.bad())["smoke"]
    cases = {case.name: case for case in suite if isinstance(case, TestCase)}
    failure = cases["stream equals generate"].result[0]
    assert failure.message == "token 11 is missing from the stream"
    assert "E   assert 11 == 12" in failure.text
    assert cases["prefix cache"].result[0].type == "INCONCLUSIVE"
    assert "scheduler died" in junit.render(report_samples.bad())


@pytest.mark.parametrize("skipped", [0, 2])
def test_a_check_without_cases_is_an_error(skipped: int) -> None:
    """A check that saw nothing shows as an empty green suite."""
    cases = [Case(name=f"case {n}", outcome=Outcome.SKIPPED) for n in range(skipped)]
    check = Check(name="smoke", started=START, seconds=1, cases=tuple(cases))
    suite = read(report_samples.report(check))["smoke"]
    assert results(suite)["smoke"] == [Error]
    assert (suite.tests, suite.errors, suite.skipped) == (skipped + 1, 1, skipped)


def test_an_interrupted_run_is_an_error() -> None:
    """A run cut short by Ctrl-C is green as far as it got."""
    report = report_samples.report(report_samples.readiness(), interrupted="SIGINT")
    assert results(read(report)["run"])["whole"] == [Error]


def test_stages_not_run_are_skipped_with_what_they_need() -> None:
    """Stages that did not run look as if they did."""
    suite = read(report_samples.good())["run"]
    assert results(suite) == {"image": [Skipped], "publish": [Skipped]}
    assert "needs a registry" in junit.render(report_samples.good())


def test_hostile_words_stay_words() -> None:
    """A server's words break the XML or add elements to it."""
    root = tree(report_samples.bad())
    failure = root.find(".//testcase[@name='bad request gets 4xx']/failure")
    assert failure is not None
    shown = HOSTILE.replace("\x1b[31m", "").replace("\x1b[0m", "").replace("\x00", "\ufffd")
    assert failure.get("message") == failure.text == shown


@unhurried
@given(any_report())
def test_any_report_loads_in_the_common_shape(report: Report) -> None:
    """Some text or combination of outcomes makes a file that readers refuse."""
    root = tree(report)
    for element in root.iter():
        assert set(element.keys()) <= ATTRIBUTES[element.tag]
        assert {child.tag for child in element} <= CHILDREN.get(element.tag, set())
    suites = JUnitXml.fromstring(junit.render(report).encode())
    assert [suite.tests for suite in suites] == [len(list(suite)) for suite in suites]


@unhurried
@given(any_report())
def test_green_means_passed(report: Report) -> None:
    """A CI that counts failures and errors comes to another verdict than the report."""
    suites = JUnitXml.fromstring(junit.render(report).encode())
    green = suites.failures == 0 and suites.errors == 0
    assert green == (report.verdict is Verdict.PASSED)
