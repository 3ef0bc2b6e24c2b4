"""JSON as everything of ours is stored: without spaces, text as it is."""

from __future__ import annotations

import json

# Made once: json.dumps with options builds an encoder at every call, which is most of the cost of a small document.
compact_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
