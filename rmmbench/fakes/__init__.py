"""Fake tensors, and a fake GPU for them: training steps that compute and allocate nothing."""
