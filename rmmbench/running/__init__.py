"""Runs cases, each in a process of its own, and keeps their records."""
