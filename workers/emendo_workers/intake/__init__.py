"""The intake: drains work the inboxes of shards, and the sweeper finds what was left behind."""
