"""What sketches are computed with: plain PyTorch, and Triton kernels that do the same on a GPU.

A function takes the kernel where one can run (`launch`), else its twin in PyTorch's own operators,
named `…_twin`: the path on a CPU, and what the kernel is tested against.
"""
