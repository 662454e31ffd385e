"""Where a long formula may be broken: before a plus or minus that is in no brackets and no norm."""


def terms(formula: str) -> list[str]:
    """Its terms, each from the second on with its sign; of plain text or LaTeX."""
    found, depth, norm = [""], 0, False
    for here, letter in enumerate(formula):
        depth += (letter in "([{") - (letter in ")]}")
        norm ^= letter in "‖|"
        if depth == 0 and not norm and formula[here : here + 3] in (" + ", " - "):
            found.append("")
        found[-1] += letter
    return [term.strip() for term in found]
