r"""LaTeX of the sheet as plain text: `\delta_1^{(2)}` as δ_1^(2), a matrix as [1 2; 3 4]."""

import re

SIGNS = {
    r"\partial ": "∂",
    r"\nabla_\theta ": "∇",
    r"\nabla": "∇",
    r"\delta": "δ",
    r"\varepsilon": "ε",
    r"\sigma": "σ",
    r"\theta": "θ",
    r"\alpha": "α",
    r"\eta": "η",
    r"\sum": "Σ",
    r"\odot": "⊙",
    r"\cdot": "·",
    r"\leftarrow": "←",
    r"\ldots": "...",
    r"\hat{y}": "ŷ",
    r"\mathcal{L}": "L",
    r"\tfrac{1}{2}": "1/2",
    r"\begin{bmatrix}": "[",
    r"\end{bmatrix}": "]",
    r" \\ ": "; ",
    " & ": " ",
    r"\|": "‖",
    r"\,": " ",
    r"\{": "⦃",
    r"\}": "⦄",
}


def plain(latex: str) -> str:
    """What stands there, without backslashes and braces."""
    latex = re.sub(r"([_^])\{([^{}()\[\]]*[-+, ][^{}]*)\}", r"\1(\2)", latex)
    latex = re.sub(r"\\(?:text|mathrm)\{([^}]*)\}", r"\1", latex)
    for sign, text in SIGNS.items():
        latex = latex.replace(sign, text)
    bare = re.sub(r"\\([a-z]+)", r"\1", latex).translate({ord("{"): None, ord("}"): None})
    return bare.translate({ord("⦃"): "{", ord("⦄"): "}"})
