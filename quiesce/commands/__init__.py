"""One module per verb: `run_<task>(session, …)` looks, plans and carries out what the task asks."""
