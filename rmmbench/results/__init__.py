"""What came of it: records, their numbers, and where they are kept. Imports no torch."""
