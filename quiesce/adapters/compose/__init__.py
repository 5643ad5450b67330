"""Docker Engine and Docker Compose.

From outside use `runtime`; a folder without a stack.yaml uses `discovery`; copies of a stack use
`sandbox_model`; volumes use `engine`, `helper_container`, `exec_stream` and `copy_files`.
"""
