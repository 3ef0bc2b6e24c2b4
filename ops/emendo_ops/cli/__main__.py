"""`python -m emendo_ops.cli` is `emendo`."""

from emendo_ops.cli import main

main()
