"""Peak memory and what is saved for the backward pass, measured or predicted."""
