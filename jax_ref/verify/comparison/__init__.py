"""The distance of a gradient from the oracle at a point, and the largest distance that is allowed."""
