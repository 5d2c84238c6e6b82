"""Finds how a model is to save memory: costs of each choice, a solver, and predictions that check.

case -> survey -> Costs -> solve at a budget -> plan -> predicted step -> the largest that fits
"""
