"""Web apps that search, and the servers that run them."""
