"""The contents of Redis and the ways to them: key names, formats, connections, pipelines, scripts."""
