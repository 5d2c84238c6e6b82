"""One case is one process: a fork server, the jobs it is given, and what they send back."""
