"""What is peculiar to the sketches by a fast transform."""

import math

import numpy as np
import pytest
import scipy.fft
import torch

from rmmbench import sketches

SIZES = [1, 2, 3, 8, 63, 101]


@pytest.mark.parametrize("name", ["dct", "dft"])
@pytest.mark.parametrize("rows", SIZES)
def test_whole_transform_is_orthonormal(name: str, rows: int) -> None:
    """At ρ = 1 nothing is lost: S is orthonormal, and the error is 0."""
    explicit = sketches.get(name).project(torch.eye(rows, dtype=torch.float64), rows, 3)
    torch.testing.assert_close(explicit @ explicit.T, torch.eye(rows, dtype=torch.float64))


@pytest.mark.parametrize("rows", SIZES)
def test_dct_rows_are_scipys(rows: int) -> None:
    """The rows of S are those of SciPy's orthonormal DCT-II, with one sign a column."""
    explicit = sketches.get("dct").project(torch.eye(rows, dtype=torch.float64), rows, 3).numpy()
    basis = scipy.fft.dct(np.eye(rows), axis=0, norm="ortho")
    found = {tuple(row) for row in np.abs(explicit).round(9)}
    assert found == {tuple(row) for row in np.abs(basis).round(9)}


@pytest.mark.parametrize("rows", SIZES)
def test_dft_rows_are_the_real_fourier_basis(rows: int) -> None:
    """The rows of S are constants, cosines and sines, each frequency once."""
    explicit = sketches.get("dft").project(torch.eye(rows, dtype=torch.float64), rows, 3).numpy()
    angles = 2 * math.pi * np.outer(np.arange(rows // 2 + 1), np.arange(rows)) / rows
    basis = [*np.cos(angles), *np.sin(angles)]
    basis = [row / np.linalg.norm(row) for row in basis if np.linalg.norm(row) > 1e-6]
    found = {tuple(row) for row in np.abs(explicit).round(9)}
    assert found == {tuple(row) for row in np.abs(basis).round(9)}


@pytest.mark.parametrize("name", ["dct", "dft"])
def test_rows_are_taken_without_replacement(name: str) -> None:
    """No two rows of S are alike: SᵀS is a multiple of the identity."""
    explicit = sketches.get(name).project(torch.eye(50, dtype=torch.float64), 30, 3)
    torch.testing.assert_close(explicit @ explicit.T, torch.eye(30, dtype=torch.float64) * 50 / 30)
