"""Numbers over commits: which runs there are, what moved between them, and how sure that is."""
