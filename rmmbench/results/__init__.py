"""The results of measuring: records, their numbers, and run directories. Imports no torch."""
