# Generated from _async/__init__.py by `python tools/async_to_sync.py`: change that file, then run the command.
"""The blocking client."""
