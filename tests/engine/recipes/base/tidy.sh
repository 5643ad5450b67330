#!/bin/sh
# Make the en_US locale the official PostgreSQL image has, and drop what no test reads.
# $1 is the root to work on; it is left out inside a container.
set -eu
root=${1:-}
inside() { if [ -n "$root" ]; then chroot "$root" "$@"; else "$@"; fi; }

inside localedef -i en_US -c -f UTF-8 -A /usr/share/locale/locale.alias en_US.UTF-8
# PostgreSQL looks for its JIT library when it needs it and goes on without: 180 MB less.
rm -f "$root"/usr/lib/*-linux-gnu/libLLVM*.so* "$root"/usr/lib/*-linux-gnu/libz3.so*
rm -f "$root"/usr/lib/postgresql/*/lib/llvmjit.so
rm -rf "$root"/usr/lib/postgresql/*/lib/bitcode
rm -rf "$root/usr/share/i18n"
rm -rf "$root/usr/share/doc" "$root/usr/share/man" "$root/usr/share/info"
rm -rf "$root/var/lib/postgresql/17"
rm -f "$root/var/log/dpkg.log" "$root/var/log/alternatives.log" "$root/var/log/nginx/"*
