"""Commands that train and measure: `python -m experiments` lists them with their questions."""
