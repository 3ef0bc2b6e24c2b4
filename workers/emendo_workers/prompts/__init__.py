"""What the chat model is asked: a file for each question, with its version and the type of its answer."""
