"""The kernels under the interpreter of Triton, and compiled without a GPU."""
