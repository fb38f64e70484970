"""A report as JUnit XML, for the readers that every CI has.

One test suite is one check, one test case one case. The counts agree with the verdict: a
file without failures and errors is a report that PASSED, so what no case shows (a check
that ran none, a run that was interrupted) is written as a case of its own.
INCONCLUSIVE becomes an error of that type: as skipped it would look harmless.

Elements and attributes are those of Jenkins' `junit-10.xsd`, which pytest keeps to as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from xml.etree import ElementTree as ET

from ci.report.model import Case, Check, Report
from ci.report.text import clean, one_line, unexplained
from ci.verdict import Outcome

_ELEMENTS = {
    Outcome.FAILED: "failure",
    Outcome.ERROR: "error",
    Outcome.INCONCLUSIVE: "error",
    Outcome.SKIPPED: "skipped",
}


def render(report: Report) -> str:
    """Return `report` as JUnit XML with its declaration, for a file in UTF-8."""
    title = one_line(report.title)
    suites = [_check(check, title) for check in report.checks]
    if report.facts or _run_cases(report):
        suites.append(_run(report, title))
    root = ET.Element("testsuites", {"name": title, "time": _seconds(report.seconds)})
    root.extend(suites)
    for count in ("tests", "failures", "errors"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in suites)))
    ET.indent(root)
    body = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'


def _check(check: Check, title: str) -> ET.Element:
    cases = list(check.cases)
    if unexplained(check):
        cases.append(Case(name=check.name, outcome=Outcome.ERROR, message=check.cause))
    suite = _suite(check.name, title, cases, check.facts)
    suite.set("time", _seconds(check.seconds))
    suite.set("timestamp", check.started.isoformat(timespec="milliseconds"))
    if check.log:
        ET.SubElement(suite, "system-out").text = clean(check.log)
    return suite


def _run(report: Report, title: str) -> ET.Element:
    """Return the suite of what belongs to no check: the run's own end and its facts."""
    suite = _suite("run", title, _run_cases(report), report.facts)
    suite.set("time", _seconds(0))
    suite.set("timestamp", report.started.isoformat(timespec="milliseconds"))
    return suite


def _run_cases(report: Report) -> list[Case]:
    ended = [Case(name="whole", outcome=Outcome.ERROR, message=report.cause)]
    return (ended if report.interrupted or not report.checks else []) + [
        Case(name=stage.stage, outcome=Outcome.SKIPPED, message=f"not run: needs {stage.needs}")
        for stage in report.not_run
    ]


def _suite(name: str, title: str, cases: list[Case], facts: Mapping[str, str]) -> ET.Element:
    elements = [_ELEMENTS.get(case.outcome, "") for case in cases]
    counts = {"tests": len(cases), "failures": elements.count("failure")}
    counts |= {"errors": elements.count("error"), "skipped": elements.count("skipped")}
    suite = ET.Element("testsuite", {"name": one_line(name)})
    suite.attrib.update({key: str(count) for key, count in counts.items()})
    if facts:
        suite.append(_properties(facts.items()))
    suite.extend(_case(case, f"{title}.{one_line(name)}") for case in cases)
    return suite


def _properties(facts: Iterable[tuple[str, str]]) -> ET.Element:
    properties = ET.Element("properties")
    for name, value in facts:
        ET.SubElement(properties, "property", {"name": one_line(name), "value": one_line(value)})
    return properties


def _case(case: Case, classname: str) -> ET.Element:
    element = ET.Element("testcase", {"name": one_line(case.name), "classname": classname})
    element.set("time", _seconds(case.seconds))
    if tag := _ELEMENTS.get(case.outcome):
        told = {"type": str(case.outcome), "message": one_line(case.message)}
        ET.SubElement(element, tag, told).text = clean(case.details)
    elif case.details:
        ET.SubElement(element, "system-out").text = clean(case.details)
    return element


def _seconds(value: float) -> str:
    return f"{max(value, 0):.3f}"
