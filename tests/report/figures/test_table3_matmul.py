"""What is peculiar to the figure of step times by sketch."""

from rmmbench.report.figures import FigureData, get
from rmmbench.spec.case import Case


def test_times_of_no_device_are_no_bar(make_run, timed_cases):
    """Times of a case that asked for none make no figure, and are told as what it lacks."""
    records = []
    for record in timed_cases():
        case = Case.model_validate(record.case.model_dump() | {"time_device": None})
        records.append(record.model_copy(update={"case": case, "key": case.key}))
    assert get("table3-matmul").lacks(FigureData.of(make_run(*records))) is not None
