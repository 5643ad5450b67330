#!/bin/sh
# Start Redis with the interface of the official image: options or a .conf file alone mean
# redis-server, /data belongs to the user redis, and protected mode is off unless asked for.
set -eu

if [ "${1#-}" != "$1" ] || [ "${1%.conf}" != "$1" ]; then
    set -- redis-server "$@"
fi

if [ "$1" = redis-server ] && [ "$(id -u)" = 0 ]; then
    find . ! -user redis -exec chown redis:redis {} +
    exec setpriv --reuid=redis --regid=redis --init-groups -- "$0" "$@"
fi

if [ "$1" = redis-server ]; then
    umask 0077
    asked=no
    for argument in "$@"; do
        case $argument in
            --protected-mode | --version | -v | --help | -h) asked=yes ;;
            *.conf) if grep -qs '^ *protected-mode' "$argument"; then asked=yes; fi ;;
        esac
    done
    if [ "$asked" = no ]; then
        set -- "$@" --protected-mode no
    fi
fi

exec "$@"
