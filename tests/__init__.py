"""Tests by what they need: `./inv test` runs them all, in the order of `tests.command`."""
