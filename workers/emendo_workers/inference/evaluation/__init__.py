"""How well a chat model extracts and decides, measured on labelled cases: `emendo eval inference`."""
