"""Moving a store from one embedding space to another, while it is read and written."""
