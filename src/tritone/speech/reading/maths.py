"""LaTeX → a formula in signs that are read aloud: "\\frac{1}{2}" → "1/2", "x \\leq 5" → "x ≤ 5"."""

from __future__ import annotations

import re

_SIGNS = {
    **{"times": "×", "cdot": "×", "div": "÷", "pm": "±", "leq": "≤", "le": "≤", "geq": "≥", "ge": "≥", "neq": "≠"},
    **{"ne": "≠", "approx": "≈", "infty": "∞", "to": "→", "rightarrow": "→", "Rightarrow": "⇒", "sum": "∑", "int": "∫"},
    **{"in": "∈", "sqrt": "√", "degree": "°", "circ": "°", "ldots": "…", "dots": "…", "cdots": "…", "percent": "%"},
    **{"alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "theta": "θ", "lambda": "λ", "mu": "μ"},
    **{"pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ", "phi": "φ", "omega": "ω", "Delta": "Δ", "Omega": "Ω"},
    **{"Sigma": "Σ", "nabla": "∇", "partial": "∂", "eta": "η", "zeta": "ζ", "kappa": "κ", "chi": "χ", "psi": "ψ"},
}
_DEEPEST = 10  # of fractions in fractions
_FRACTION = re.compile(r"\\[dt]?frac\s*\{([^{}]{0,200})\}\s*\{([^{}]{0,200})\}")
_TEXT = re.compile(r"\\(?:text|mathrm|mathbf|operatorname|boxed|mathit|textbf|overline|vec|hat)\s*\{([^{}]{0,300})\}")


def readable(formula: str) -> str:
    """A formula without the commands of LaTeX; an unknown command is read by its name."""
    for _ in range(_DEEPEST):
        before = formula
        formula = _TEXT.sub(r"\1", _FRACTION.sub(lambda m: f"{_grouped(m[1])}/{_grouped(m[2])}", formula))
        if formula == before:
            break
    formula = re.sub(r"\\(?:left|right|big|Big|,|;|!|quad|qquad|displaystyle)(?![A-Za-z])", " ", formula)
    formula = re.sub(r"\\([A-Za-z]{1,20})", lambda m: _SIGNS.get(m[1], f" {m[1]} "), formula)
    formula = re.sub(r"\^\s*\{([^{}]{1,9})\}", r"^\1", formula)
    return " ".join(re.sub(r"[{}\\&]", " ", formula.replace("^°", "°").replace("\\%", "%")).split())


def _grouped(part: str) -> str:
    return part if re.fullmatch(r"\s*[\w.]+\s*", part) else f"({part})"
