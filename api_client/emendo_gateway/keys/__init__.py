"""API keys: their form, their records in Redis, and how a request's key is checked. Also tokens of an issuer (JWT)."""
