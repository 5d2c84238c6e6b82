"""What is peculiar to the sketches by a fast transform."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.fft
import scipy.linalg
import torch

from rmmbench import sketches
from rmmbench.sketches import _subsampled

SIZES = [1, 2, 3, 8, 63, 101]
NAMES = ["dct", "dft", "hadamard"]


def explicit(name, rows, proj_dim):
    """Return Sᵀ for seed 3."""
    return sketches.get(name).project(torch.eye(rows, dtype=torch.float64), proj_dim, 3)


def rows_of(matrix):
    """Return the rows of a matrix without their signs, in no order."""
    return {tuple(row) for row in np.abs(matrix).round(9)}


@pytest.mark.parametrize(
    ("name", "rows"),
    [(name, rows) for name in ("dct", "dft") for rows in SIZES]
    + [("hadamard", rows) for rows in (1, 2, 8, 64, 128)],
)
def test_whole_transform_is_orthonormal(name, rows):
    """At ρ = 1 nothing is lost: S is orthonormal, and the error is 0."""
    s = explicit(name, rows, rows)
    torch.testing.assert_close(s @ s.T, torch.eye(rows, dtype=torch.float64))
    x = torch.randn(rows, 3)
    assert sketches.get(name).variance(sketches.get(name).moments(x, x), rows, rows) == 0


@pytest.mark.parametrize("rows", SIZES)
def test_dct_rows_are_scipys(rows):
    """The rows of S are those of SciPy's orthonormal DCT-II, with one sign a column."""
    basis = scipy.fft.dct(np.eye(rows), axis=0, norm="ortho")
    assert rows_of(explicit("dct", rows, rows).numpy()) == rows_of(basis)


@pytest.mark.parametrize("rows", SIZES)
def test_dft_rows_are_the_real_fourier_basis(rows):
    """The rows of S are constants, cosines and sines, each frequency once."""
    angles = 2 * math.pi * np.outer(np.arange(rows // 2 + 1), np.arange(rows)) / rows
    basis = [*np.cos(angles), *np.sin(angles)]
    basis = np.array([row / np.linalg.norm(row) for row in basis if np.linalg.norm(row) > 1e-6])
    assert rows_of(explicit("dft", rows, rows).numpy()) == rows_of(basis)


@pytest.mark.parametrize("rows", [1, 2, 7, 63, 64, 65, 1024])
def test_hadamard_rows_are_scipys(rows):
    """The rows of S are rows of SciPy's Hadamard matrix of the next power of two, cut to size."""
    s = explicit("hadamard", rows, rows).numpy()
    torch.testing.assert_close(abs(s), np.full_like(s, rows**-0.5))
    length = 1 << (rows - 1).bit_length()
    basis = scipy.linalg.hadamard(length)[:, :rows]
    # The product of two rows is a row again, in which the signs that all have in common cancel.
    assert {tuple(row) for row in (s[0] * s * rows).round(9)} <= {tuple(row) for row in basis}


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_taken_without_replacement(name):
    """No two rows of S are alike: SᵀS is a multiple of the identity."""
    s = explicit(name, 64, 30)
    torch.testing.assert_close(s @ s.T, torch.eye(30, dtype=torch.float64) * 64 / 30)


@pytest.mark.parametrize(
    ("name", "rows", "expected"),
    [
        ("dct", 64, 2 * 64 * 3 * 7),
        ("dft", 1024, 2 * 1024 * 3 * 11),
        ("hadamard", 64, 2 * 64 * 3 * 7),
        ("hadamard", 65, 2 * 128 * 3 * 8),
    ],
)
def test_work(name, rows, expected):
    """An addition and a multiplication for each of log₂ B steps; and one each, signs and scales."""
    assert sketches.get(name).flops(rows, 3, 20) == expected


@pytest.mark.parametrize(("gib", "pieces"), [(80, 33), (8, 179)])
def test_a_gpus_workspace_grows_with_it(gib, pieces, monkeypatch):
    """On a large GPU a transform of many rows and columns is fewer pieces than on a small one."""
    properties = SimpleNamespace(total_memory=gib * 2**30)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    size = _subsampled.workspace_bytes(torch.device("cuda:0"))
    monkeypatch.setattr(_subsampled, "workspace_bytes", lambda _: size)
    x = torch.empty(1, device="meta").expand(131072, 4096)
    assert -(-4096 // sketches.get("dct")._columns_at_once(x, 4)) == pieces
