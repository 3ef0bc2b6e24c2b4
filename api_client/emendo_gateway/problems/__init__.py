"""Every error as an answer: which status it has, and how each dialect writes it."""
