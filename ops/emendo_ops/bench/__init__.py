"""Measurements of `emendo bench` and `make bench`: the product's side of every figure, and how figures are reported.

`tests/bench` adds the baselines and the target of each figure. docs/performance.md explains the method.
"""
