#!/bin/bash
# Start MariaDB with the interface of the official image: the same variables, the same first start
# (a temporary server on the socket alone, then the real one), the same users.
set -Eeuo pipefail

data=/var/lib/mysql
socket=/run/mysqld/mysqld.sock

# MARIADB_NAME, MYSQL_NAME or the file that NAME_FILE names.
setting() {
    local name file
    for name in "MARIADB_$1" "MYSQL_$1"; do
        file="${name}_FILE"
        if [[ -n ${!name:-} ]]; then printf '%s' "${!name}"; return; fi
        if [[ -n ${!file:-} ]]; then printf '%s' "$(<"${!file}")"; return; fi
    done
}

quoted() { local text=${1//\\/\\\\}; printf "'%s'" "${text//\'/\'\'}"; }

prepare_first_start() {
    local root database user password
    root=$(setting ROOT_PASSWORD) database=$(setting DATABASE)
    user=$(setting USER) password=$(setting PASSWORD)
    if [[ -z $root ]]; then
        echo "entrypoint: a new server needs MARIADB_ROOT_PASSWORD" >&2
        exit 1
    fi
    mariadb-install-db --datadir="$data" --auth-root-authentication-method=normal \
        --skip-test-db --skip-name-resolve >/dev/null
    mariadbd --skip-networking --socket="$socket" &
    local server=$!
    until mariadb --socket="$socket" --user=root --execute="SELECT 1" >/dev/null 2>&1; do
        kill -0 "$server"
        sleep 0.1
    done
    {
        echo "ALTER USER root@localhost IDENTIFIED BY $(quoted "$root");"
        echo "DROP USER IF EXISTS root@'127.0.0.1', root@'::1', root@'$(hostname)';"
        echo "CREATE USER root@'%' IDENTIFIED BY $(quoted "$root");"
        echo "GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;"
        if [[ -n $database ]]; then echo "CREATE DATABASE \`$database\`;"; fi
        if [[ -n $user ]]; then
            echo "CREATE USER $(quoted "$user")@'%' IDENTIFIED BY $(quoted "$password");"
            if [[ -n $database ]]; then
                echo "GRANT ALL ON \`${database//_/\\_}\`.* TO $(quoted "$user")@'%';"
            fi
        fi
    } | mariadb --socket="$socket" --user=root
    kill "$server"
    wait "$server"
    echo "entrypoint: MariaDB init process done. Ready for start up." >&2
}

if [[ ${1:-mariadbd} == -* ]]; then
    set -- mariadbd "$@"
fi

if [[ $1 == mariadbd ]]; then
    if [[ $(id -u) == 0 ]]; then
        find "$data" /run/mysqld ! -user mysql -exec chown mysql:mysql {} +
        exec setpriv --reuid=mysql --regid=mysql --init-groups -- "$0" "$@"
    fi
    if [[ ! -d $data/mysql ]]; then
        prepare_first_start
    fi
    set -- "$@" --bind-address=* --socket="$socket" --skip-name-resolve
fi

exec "$@"
