"""The arithmetic of sketches: plain PyTorch, and Triton kernels that do the same on a GPU.

A function runs its kernel where one can run (`launch`), else its twin in PyTorch's own operators,
named `…_twin`. The twin is the path on a CPU, and the kernel is tested against it.
"""
