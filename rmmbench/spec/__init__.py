"""What to measure: cases, grids of cases, and profiles. Imports no torch."""
