"""What jaxviz costs beside PyTorch: `python -m benchmarks speed`. Not in the package; needs the extra `benchmarks`."""
