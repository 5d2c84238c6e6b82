"""What is asked: cases, grids of them, profiles. Imports no torch."""
