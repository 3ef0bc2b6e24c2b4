"""What `emendo bench` and `make bench` measure: the product's side of every figure, and how figures are written down.

`tests/bench` adds the baselines and what each figure is to reach; docs/performance.md explains the method.
"""
