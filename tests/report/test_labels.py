"""Labels: how cases are named for people."""

import pytest

from rmmbench.report.labels import (
    gradient_error,
    kind,
    place,
    provenance,
    rate,
    ratio_interval,
    setting,
)
from rmmbench.results.tidy import CELL, PLACE, kind_columns, read_rows, setting_columns
from rmmbench.units import GIB


@pytest.fixture
def row(make_record):
    """Make the row of one case."""

    def make(**settings):
        return read_rows([make_record(**settings)])[0]

    return make


@pytest.mark.parametrize(
    ("settings", "columns", "text"),
    [
        ({}, ("model", "task"), "roberta-tiny · MRPC"),
        ({}, ("task", "batch_size", "seq_len"), "MRPC · 16×103"),
        ({}, ("batch_size",), "batch 16"),
        ({}, ("seq_len", "seed"), "103 tokens · seed 0"),
        ({"task": "mine"}, ("task",), "mine"),
        ({"task": None, "seq_len": None}, ("model", "task", "batch_size", "seq_len", "attention"),
         "roberta-tiny · batch 16"),
        ({"model": "linear:8x4", "task": None, "seq_len": None, "batch_size": 4096}, CELL,
         "linear:8x4 · 4096 rows · float32 · adam · seed 0"),
        ({"model": "linear:8x4", "task": None, "seq_len": None, "batch_size": 4096},
         ("model", "batch_size"), "linear:8x4 · 4096 rows"),
        ({"update": "in-backward"}, ("model", "update"),
         "roberta-tiny · in-backward update"),
        ({"accumulate": 4, "clip_norm": 0.5, "zeroed_gradients": True}, CELL,
         "roberta-tiny · MRPC · 16×103 · float32 · adam · eager attention · 4 micro-batches · "
         "gradients kept as zeros · clipped to 0.5 · seed 0"),
        ({"ranks": 8, "parallel": "fsdp2", "reshard": False, "task": None}, PLACE,
         "roberta-tiny · 103 tokens · float32 · adam · eager attention · fsdp2 × 8 · "
         "parameters kept after the forward pass · seed 0"),
        ({"ranks": 8, "parallel": "tensor"}, ("ranks",), "8 ranks"),
        ({}, ("ranks",), "1 rank"),
        ({}, ("accumulate",), "1 micro-batch"),
        ({}, ("accumulate", "update"), ""),
    ],
)  # fmt: skip
def test_place(row, settings, columns, text):
    """A place has what the columns ask for and the case has, tasks as the paper prints them."""
    assert place(row(**settings), columns) == text


@pytest.mark.parametrize(
    ("settings", "columns", "text"),
    [
        ({}, (), "exact"),
        ({"method": "rmm", "sketch": "dct", "rho": 0.5}, (), "ρ=0.5"),
        ({"method": "rmm", "sketch": "dct", "rho": 0.5}, ("rho",), "ρ=0.5"),
        ({"method": "rmm", "sketch": "dct", "rho": 0.5}, ("sketch",), "dct ρ=0.5"),
        ({"method": "rmm", "sketch": "dct", "proj_dim": 64}, (), "proj_dim=64"),
        ({"method": "rmm", "sketch": "dct", "rho": 0.05, "max_proj_dim": 9}, ("max_proj_dim",),
         "dct proj_dim≤9 ρ=0.05"),
        ({"method": "checkpoint"}, (), "checkpoint"),
        ({"method": "rmm", "sketch": "oporp", "rho": 0.5, "where": "beneficial"},
         ("sketch", "where"), "oporp, beneficial layers ρ=0.5"),
        ({"method": "rmm", "sketch": "oporp", "rho": 0.5, "where": "beneficial"},
         ("sketch",), "oporp ρ=0.5"),
    ],
)  # fmt: skip
def test_setting(row, settings, columns, text):
    """A setting always has its rate, and its kind where it is asked for or there is no rate."""
    assert setting(row(**settings), columns) == text


BLOCKS = {"sketch": "gaussian", "block_rows": 128}


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({}, "dct"),
        ({"where": "beneficial"}, "dct, beneficial layers"),
        ({"share": False}, "dct, unshared"),
        (BLOCKS, "gaussian, blocks of 128"),
        (
            BLOCKS | {"where": "beneficial", "share": False, "include": ("a",)},
            "gaussian include a, blocks of 128, beneficial layers, unshared",
        ),
    ],
)
def test_what_is_unusual_is_said(row, settings, text):
    """Of a choice that most cases leave as it is a name has only the other one."""
    case = row(**{"method": "rmm", "sketch": "dct", "rho": 0.5} | settings)
    assert kind(case, ("include", "block_rows", "where", "share")) == text


def test_kind_and_rate_are_apart(row):
    """A kind says nothing of the rate, and a rate nothing of the kind."""
    case = row(method="rmm", sketch="dct", rho=0.5, exclude=("*.head", "*.tail"))
    assert kind(case) == "dct"
    assert kind(case, kind_columns()) == "dct proj_dim≥1 exclude *.head *.tail"
    assert rate(case) == "ρ=0.5"
    assert rate(row()) == ""


@pytest.mark.parametrize(
    ("devices", "text"),
    [
        (("predict", None), "Memory predicted on fake tensors with torch 2.13.0+cpu, float32."),
        ((None, "cpu"), "Time measured on Golden CPU with torch 2.13.0+cpu, float32."),
        (("cuda", "cuda"), "Memory and time measured on H200 with torch 2.13.0+cpu, float32."),
        (("predict", "cpu"), "Memory predicted on fake tensors; time measured on Golden CPU "
         "with torch 2.13.0+cpu, float32."),
    ],
)  # fmt: skip
def test_provenance(row, make_record, devices, text):
    """Provenance says of memory and time where they are from, and what is made up."""
    case = row(memory_device=devices[0], time_device=devices[1])
    environment = make_record().environment.model_copy(update={"gpu": "H200"})
    said = provenance([case], environment, "inputs and labels are random")
    held = "Predicted memory is what a CPU would hold. " if "predict" in devices else ""
    assert said == f"{text} {held}Inputs and labels are random."


@pytest.mark.parametrize(
    ("devices", "text"),
    [
        ((None, "cpu"), "Trained on Golden CPU with torch 2.13.0+cpu, float32."),
        (("predict", "cuda"), "Trained on H200; memory predicted on fake tensors "
         "with torch 2.13.0+cpu, float32."),
    ],
)  # fmt: skip
def test_provenance_of_training(row, make_record, devices, text):
    """Of training runs it says where they ran, and what their data is, if it is not real."""
    case = row(memory_device=devices[0], time_device=devices[1])
    environment = make_record().environment.model_copy(update={"gpu": "H200"})
    said = provenance([case], environment, "texts are cut", ["training", "memory"])
    held = "Predicted memory is what a CPU would hold. " if "predict" in devices else ""
    assert said == f"{text} {held}Texts are cut."


def test_provenance_of_what_is_shown(row, make_record):
    """What is not shown is not spoken of, and every dtype is."""
    rows = [row(time_device="cpu"), row(dtype="bfloat16")]
    said = provenance(rows, make_record().environment, "", ["memory"])
    how = "Memory predicted on fake tensors with torch 2.13.0+cpu, bfloat16, float32."
    assert said == f"{how} Predicted memory is what a CPU would hold."


def test_provenance_of_what_a_gpu_would_hold(row, make_record):
    """Only memory that was predicted as a CPU holds it says so, and only where there is some."""
    about = (make_record().environment, "", ["memory"])
    assert "CPU would hold" not in provenance([row(reserved=11 * GIB)], *about)
    assert "CPU would hold" not in provenance([row(outcome="out_of_memory")], *about)
    assert "CPU would hold" not in provenance([row(memory_device="cpu")], *about)


def test_settings_tell_all(row):
    """Asked for everything, a name says everything that is set."""
    case = row(method="rmm", sketch="dct", rho=0.5, min_proj_dim=2, include=("a",))
    assert setting(case, setting_columns()) == "dct proj_dim≥2 include a ρ=0.5"


@pytest.mark.parametrize(
    ("error", "spread", "text"),
    [
        (None, None, ""),
        (3e-8, 1e-9, "0"),
        (1.04, 0.04, "1.04 ± 0.04"),
        (0.00891, 0.00021, "0.0089 ± 0.0002"),
        (2.13, 0.31, "2.1 ± 0.3"),
        (127.2, 3.1, "127 ± 3"),
        (0.55, 0.00003, "0.550"),
        (0.55, None, "0.550"),
    ],
)
def test_a_gradient_error_has_the_digits_that_its_spread_allows(error, spread, text):
    """Rounding alone is 0; else no digit is shown that another draw would change by much."""
    row = {"gradient_error": error, "gradient_error_spread": spread}
    assert gradient_error(row) == text


@pytest.mark.parametrize(
    ("settings", "columns", "text"),
    [
        ({"method": "checkpoint"}, (), "checkpoint"),
        ({"method": "rmm", "sketch": "oporp", "rho": 0.5}, (), "oporp"),
        (
            {"method": "rmm+checkpoint-attention", "sketch": "oporp", "rho": 0.5},
            (),
            "oporp + checkpoint-attention",
        ),
        ({"method": "quantize", "bits": 4, "group_size": 64}, ("bits",), "quantize, 4 bits"),
        (
            {"method": "quantize", "bits": 4, "group_size": 64},
            ("bits", "group_size"),
            "quantize, 4 bits, groups of 64",
        ),
        ({"method": "memory-budget", "budget": 0.25}, ("budget",), "memory-budget, budget 0.25"),
    ],
)
def test_a_stack_is_named_by_its_methods(row, settings, columns, text):
    """A sketch stands for rmm; settings are told where they are asked for."""
    assert kind(row(**settings), columns) == text


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.8866, 1.2339, "0.89–1.23"),
        (1.0012, 1.0042, "1.001–1.004"),
        (1.0, 1.0, ""),
        (None, None, ""),
    ],
)
def test_an_interval_has_the_digits_that_tell_its_ends_apart(low, high, text):
    """Two decimals, or as many as its width asks for; nothing where there is no width."""
    row = {"relative_throughput": 1.0, "relative_throughput_low": low}
    assert ratio_interval(row | {"relative_throughput_high": high}) == text
