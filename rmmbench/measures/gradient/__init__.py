"""How far weight gradients are from exact, and how much of that is noise."""
