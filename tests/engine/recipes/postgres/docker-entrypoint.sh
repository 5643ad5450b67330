#!/bin/bash
# Start PostgreSQL with the interface of the official image: the same variables, the same first
# start (a temporary server on the socket alone, then the real one), the same access rules.
set -Eeuo pipefail
shopt -s nullglob

say() { printf '%s: %s\n' "entrypoint" "$*" >&2; }

# NAME or NAME_FILE, not both; the value ends up in NAME, or the default does.
take_setting() {
    local name=$1 default=${2:-} file_name="${1}_FILE"
    if [[ -n ${!name:-} && -n ${!file_name:-} ]]; then
        say "both $name and $file_name are set"
        exit 1
    fi
    local value=${!name:-$default}
    if [[ -n ${!file_name:-} ]]; then
        value=$(<"${!file_name}")
    fi
    export "$name=$value"
    unset "$file_name"
}

make_directories() {
    mkdir -p "$PGDATA"
    chmod 0700 "$PGDATA" || true
    mkdir -p /run/postgresql
    chmod 3777 /run/postgresql || true
    if [[ $(id -u) == 0 ]]; then
        find "$PGDATA" /run/postgresql ! -user postgres -exec chown postgres:postgres {} +
    fi
}

create_cluster() {
    local -a initdb_arguments=()
    eval "initdb_arguments=(${POSTGRES_INITDB_ARGS:-})"
    if [[ -n ${POSTGRES_INITDB_WALDIR:-} ]]; then
        initdb_arguments+=(--waldir "$POSTGRES_INITDB_WALDIR")
    fi
    initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") \
        "${initdb_arguments[@]}" >/dev/null # its advice would hide what tests look for in the log
    # The socket and the container's own loopback stay on initdb's trust; everyone else proves it.
    local method=${POSTGRES_HOST_AUTH_METHOD:-}
    if [[ -z $method ]]; then
        method=$(postgres -C password_encryption)
    fi
    printf '\nhost all all all %s\n' "$method" >> "$PGDATA/pg_hba.conf"
}

run_sql() {
    PGHOST='' PGHOSTADDR='' psql -v ON_ERROR_STOP=1 --no-psqlrc --no-password \
        --username "$POSTGRES_USER" "$@"
}

create_database() {
    if [[ $POSTGRES_DB == postgres ]]; then
        return
    fi
    local found
    found=$(run_sql --dbname postgres --tuples-only --no-align --set name="$POSTGRES_DB" \
        <<< "SELECT 1 FROM pg_database WHERE datname = :'name'")
    if [[ -z $found ]]; then
        run_sql --dbname postgres --set name="$POSTGRES_DB" <<< 'CREATE DATABASE :"name"'
    fi
}

run_first_start_files() {
    local file
    for file in /docker-entrypoint-initdb.d/*; do
        case $file in
            *.sh)
                if [[ -x $file ]]; then
                    say "running $file"
                    "$file"
                else
                    say "sourcing $file"
                    # shellcheck disable=SC1090
                    . "$file"
                fi
                ;;
            *.sql) say "running $file"; run_sql --dbname "$POSTGRES_DB" --file "$file" ;;
            *.sql.gz) say "running $file"; gunzip -c "$file" | run_sql --dbname "$POSTGRES_DB" ;;
            *.sql.xz) say "running $file"; xzcat "$file" | run_sql --dbname "$POSTGRES_DB" ;;
            *.sql.zst) say "running $file"; zstd -dc "$file" | run_sql --dbname "$POSTGRES_DB" ;;
            *) say "ignoring $file" ;;
        esac
    done
}

start_temporary_server() {
    shift
    local options
    options=$(printf '%q ' "$@" -c listen_addresses='' -p "${PGPORT:-5432}")
    PGUSER=$POSTGRES_USER pg_ctl -D "$PGDATA" -o "$options" -w start
}

stop_temporary_server() {
    PGUSER=$POSTGRES_USER pg_ctl -D "$PGDATA" -m fast -w stop
}

prepare_first_start() {
    if [[ -z $POSTGRES_PASSWORD && ${POSTGRES_HOST_AUTH_METHOD:-} != trust ]]; then
        say "a new cluster needs POSTGRES_PASSWORD (or POSTGRES_HOST_AUTH_METHOD=trust)"
        exit 1
    fi
    create_cluster
    export PGPASSWORD=${PGPASSWORD:-$POSTGRES_PASSWORD}
    start_temporary_server "$@"
    create_database
    run_first_start_files
    stop_temporary_server
    unset PGPASSWORD
    say "PostgreSQL init process complete; ready for start up."
}

wants_answer_only() {
    local argument
    for argument in "$@"; do
        case $argument in
            -'?' | --help | --describe-config | -V | --version | -C) return 0 ;;
        esac
    done
    return 1
}

if [[ ${1:-postgres} == -* ]]; then
    set -- postgres "$@"
fi

if [[ ${1:-} == postgres ]] && ! wants_answer_only "$@"; then
    take_setting POSTGRES_PASSWORD
    take_setting POSTGRES_USER postgres
    take_setting POSTGRES_DB "$POSTGRES_USER"
    make_directories
    if [[ $(id -u) == 0 ]]; then
        export HOME=/var/lib/postgresql
        exec setpriv --reuid=postgres --regid=postgres --init-groups -- "$0" "$@"
    fi
    if [[ ! -s $PGDATA/PG_VERSION ]]; then
        prepare_first_start "$@"
    else
        say "the data directory holds a cluster already; first start skipped"
    fi
fi

exec "$@"
