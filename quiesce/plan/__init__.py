"""Planners, one per verb; each returns a `Plan`. Pure: no clock, no disk, no network."""
