"""Right pairs of a forward and a backward pass, and the same with one mistake planted in each."""
