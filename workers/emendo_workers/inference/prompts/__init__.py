"""The questions to the chat model: a file for each, with its version and the type of its answer."""
