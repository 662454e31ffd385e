"""Proof that every hand-written gradient is right, and that a wrong one would be found."""
