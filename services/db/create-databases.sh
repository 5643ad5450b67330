#!/bin/sh
# Create both databases, empty, at the first start. Migrations create the tables.
set -eu

for database in rulesdb memorydb; do
    psql -v ON_ERROR_STOP=1 --no-psqlrc --quiet --username "$POSTGRES_USER" --dbname postgres \
        --set name="$database" <<'SQL'
CREATE DATABASE :"name" ENCODING 'UTF8' TEMPLATE template0;
SQL
done
