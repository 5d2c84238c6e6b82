"""The report as JUnit XML, which most CI systems can show."""

import re
from xml.etree import ElementTree

from rmmbench.report.check import wording
from rmmbench.report.check.report import CaseResult, Report, Verdict

# XML 1.0 cannot represent these, and reasons may quote a program's output.
_UNWRITABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(report: Report) -> str:
    """Return one test suite with a test case per measured case."""
    suite = ElementTree.Element("testsuite", name="rmmbench check", tests=str(len(report.cases)))
    for result in report.cases:
        _add_case(suite, result, report)
    for kind, plural in (("failure", "failures"), ("skipped", "skipped")):
        suite.set(plural, str(len(suite.findall(f"testcase/{kind}"))))
    suite.set("errors", "0")
    if report.warnings:
        ElementTree.SubElement(suite, "system-out").text = _writable("\n".join(report.warnings))
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _add_case(suite: ElementTree.Element, result: CaseResult, report: Report) -> None:
    attributes = {"classname": result.case.model, "name": wording.settings(result.case)}
    attributes = {name: _writable(value) for name, value in attributes.items()}
    case = ElementTree.SubElement(suite, "testcase", attributes)
    lines = [wording.line(one) for one in result.findings if one.verdict is result.verdict]
    if report.fails(result.verdict):
        kind = "failure"
    elif result.verdict is Verdict.NOT_ENOUGH_EVIDENCE:
        kind = "skipped"
    else:
        return
    child = ElementTree.SubElement(case, kind, type=result.verdict, message=_writable(lines[0]))
    child.text = _writable("\n".join(lines))


def _writable(text: str) -> str:
    return _UNWRITABLE.sub("?", text)
