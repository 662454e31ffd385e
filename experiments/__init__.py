"""Scripts that train and measure: run them with `python -m experiments.NAME --help`."""
