"""How is a word pronounced? Weights that somebody else has trained, in the GRU whose backward is by hand.

The package g2p-en (Park & Kim 2019) spells a word to a GRU, letter by letter, and has a second one say its
phonemes, each after the one before, in the notation of the CMU Pronouncing Dictionary. Its weights, of
PyTorch, are read from its wheel, which is not installed: nothing but arrays of known names and shapes.
"""
