"""The checks, each of a property that a right gradient has: its `violations` are findings."""
