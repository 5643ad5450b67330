"""What touches the world: one driver, one home. Joined to the rest only in `app`."""
