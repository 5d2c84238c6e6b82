"""Measures memory, time, gradients and the machine, each apart, as plain numbers in SI units."""
