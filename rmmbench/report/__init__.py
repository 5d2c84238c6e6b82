"""What people read: tables, figures, comparisons. Imports no torch."""
