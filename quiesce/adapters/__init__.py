"""Everything that does I/O, one package per technology. Only `app` connects it to the rest."""
