"""Measures how far weight gradients are from exact ones, and how much of that is noise."""
