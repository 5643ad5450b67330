"""One module per verb: `run_<task>(session, …)` observes, plans and executes the task."""
