"""How far a gradient is from the oracle, and how far it may be."""
