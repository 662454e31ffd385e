"""Is a hand-written backward faster or smaller than the best of what a JAX user would write?"""
