"""Whatever a run directory has in it, a command ends as documented, in a line if it is refused."""

import json
import random
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from rmmbench.cli import main
from rmmbench.errors import Exit
from rmmbench.results.store import RECORDS_FILE, RUN_FILE

VALUES = [
    *(None, True, -1, 0, 1, 2**53, 2**63, 10**400, 1e-320, 1e308, float("nan"), float("inf")),
    *("", "\x1b[31m", "a\nb", "::error::x", "[/x]", "\ud800", "<b>", "x" * 5000, [], {}, [[]]),
    *("exact", "rmm", "cuda", "predict", "ok", "error", "compile", "linear:8x8", "%", "{0}"),
]
COMMANDS = [["table"], ["export"], ["export", "--format", "markdown"], ["check", "--against"]]


def places(data: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container in some JSON with each of its keys."""
    items = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in list(items):
        yield data, key
        if isinstance(value, dict | list):
            yield from places(value)


def mutated(numbers: random.Random, data: Any) -> bytes:
    """Return some JSON in which something was removed, changed, or broken."""
    for _ in range(numbers.choice([1, 1, 2])):
        container, key = numbers.choice(list(places(data)))
        if numbers.random() < 0.1 and isinstance(container, dict):
            del container[key]
        else:
            container[key] = numbers.choice(VALUES)
    text = json.dumps(data).encode()
    at = numbers.randrange(len(text))
    broken = [text[:at], text[:at] + b"[" * 2000, text[:at] + bytes([numbers.randrange(256)])]
    return numbers.choice(broken) if numbers.random() < 0.1 else text


@pytest.fixture
def limitless():
    """Let integers of any length be written."""
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    yield
    sys.set_int_max_str_digits(before)


@pytest.mark.parametrize("seed", range(4))
def test_no_run_directory_ends_a_command_in_a_traceback(
    make_run, make_record, monkeypatch, capsys, seed, limitless
):
    """Of a hundred mutated runs each is shown or refused, with nothing for a terminal to obey."""
    numbers = random.Random(seed)
    steps = {"step_seconds": (0.1, 0.2, 0.3), "reference_step_seconds": (0.2, 0.3, 0.4)}
    records = [
        make_record(**steps),
        make_record(**steps, method="rmm", sketch="dct", rho=0.5),
        make_record(outcome="error", batch_size=8),
    ]
    whole, run = make_run(*records, name="whole"), make_run(*records)
    info = json.loads((run.path / RUN_FILE).read_text())
    for _ in range(25):
        lines = [json.loads(record.model_dump_json()) for record in records]
        spoilt = numbers.randrange(4)
        data = [mutated(numbers, x) if i == spoilt else json.dumps(x) for i, x in enumerate(lines)]
        text = b"".join((x if isinstance(x, bytes) else x.encode()) + b"\n" for x in data)
        (run.path / RECORDS_FILE).write_bytes(text)
        about = mutated(numbers, json.loads(json.dumps(info))) if spoilt == 3 else json.dumps(info)
        (run.path / RUN_FILE).write_bytes(about if isinstance(about, bytes) else about.encode())
        name, *rest = numbers.choice(COMMANDS)
        last = [str(whole.path)] if name == "check" else []
        monkeypatch.setattr(sys, "argv", ["rmmbench", name, str(run.path), *rest, *last])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert ended.value.code in set(Exit) - {Exit.FAULT}
        assert "\x1b" not in out + err
        if ended.value.code == Exit.USAGE:
            (line,) = err.splitlines()
            assert line.startswith("error: ")
