#!/bin/sh
# What docker-compose.yml relies on in the start script of redis:8: every module of this folder is loaded.
for module in /usr/local/lib/redis/modules/*.so; do
  set -- "$@" --loadmodule "$module"
done
exec "$@"
