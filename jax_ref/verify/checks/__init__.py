"""The checks: what each of them holds against the pair."""
