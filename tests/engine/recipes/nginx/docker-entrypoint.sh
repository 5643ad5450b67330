#!/bin/sh
# Log to the container's own output, or to real files where a volume is mounted for them.
set -eu

if mountpoint -q /var/log/nginx; then
    for log in access.log error.log; do
        if [ -L "/var/log/nginx/$log" ]; then rm "/var/log/nginx/$log"; fi
    done
else
    ln -sf /dev/stdout /var/log/nginx/access.log
    ln -sf /dev/stderr /var/log/nginx/error.log
fi

exec "$@"
