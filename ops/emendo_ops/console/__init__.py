"""Parts that commands share: options, exit codes, tables, JSON, progress bars, questions."""
