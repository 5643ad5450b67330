"""Deciding, purely: no clock, no disk, no network. One planner per verb returns a `Plan`."""
