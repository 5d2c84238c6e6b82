"""Memory, time, the machine and its counters: each measured apart, as plain numbers in SI units."""
