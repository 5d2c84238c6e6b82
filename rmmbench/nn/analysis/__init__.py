"""Who keeps which inputs, and which layers gain by a sketch."""
