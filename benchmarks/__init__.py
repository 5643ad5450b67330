"""Quiesce beside what people use: the same data, the same machine, one run, interleaved.

Nothing here asserts anything. A shared machine is noisy, so every figure is the median of rounds
in which all contestants took turns, and what counts are the ratios.
"""
