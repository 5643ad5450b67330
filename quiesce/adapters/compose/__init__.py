"""Docker Engine and Docker Compose.

From outside use `runtime`; copies of a stack use `sandbox_model`; volumes use `engine`,
`helper_container`, `exec_stream` and `copy_files`.
"""
