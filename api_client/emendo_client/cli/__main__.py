"""`python -m emendo_client.cli` is `emendo`."""

from emendo_client.cli import main

main()
