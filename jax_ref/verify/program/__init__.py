"""The reference as a list of steps, and where in the source each of them is written."""
