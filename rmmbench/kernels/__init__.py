"""What sketches are computed with: plain PyTorch, and Triton kernels that do the same on a GPU.

Each function here is the PyTorch twin: the path on a CPU, and what its kernel is tested against.
"""
