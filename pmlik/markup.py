"""Tables of strings to Markdown and LaTeX. Knows nothing of what they are about."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pmlik.rendering import MINUS, Sheet, printable

__all__ = ["escape_latex", "escape_markdown", "to_latex", "to_markdown"]

_NUMBER = re.compile(rf"[{MINUS}+]?[\d.]+(?:e[{MINUS}+]\d+)?|[{MINUS}]?\N{{INFINITY}}")

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "^": r"\textasciicircum{}",
    "_": r"\_",
    "%": r"\%",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # after a line's end it would be an optional argument
    "]": "{]}",
    "`": r"\textasciigrave{}",
    "\N{EN DASH}": "--",
    MINUS: "$-$",
    "\N{INFINITY}": r"$\infty$",
    "\N{HORIZONTAL ELLIPSIS}": r"\dots{}",
}
# What means something in the middle of a line; nothing stands at its beginning.
_MARKDOWN = re.compile(r"([\\`*_\[\]|~$])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def escape_latex(text: str) -> str:
    """Text that LaTeX typesets as it is."""
    return re.sub(r"--+|.", _latex_of, printable(text))


def _latex_of(match: re.Match[str]) -> str:
    text = match[0]
    # Several hyphens would be typeset as one dash.
    return "{}".join(text) if text.startswith("--") else _LATEX.get(text, text)


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is, in a table or out of one."""
    safe = "".join(_ENTITIES.get(character, character) for character in printable(text))
    safe = _MARKDOWN.sub(r"\\\1", safe)
    # Addresses become links by themselves.
    return re.sub(r"(?i)\b(www)\.|(https?|ftp):", lambda m: m[0][:-1] + f"&#{ord(m[0][-1])};", safe)


def to_markdown(sheet: Sheet) -> str:
    """A pipe table with a title above and notes below."""
    heads = [escape_markdown(column) for column in sheet.columns]
    aligned = [":--", *["--:"] * (len(heads) - 1)]
    rows = [[escape_markdown(row[0]), *map(_plain_cell, row[1:])] for row in sheet.rows]
    lines = [f"**{escape_markdown(sheet.title)}**", ""]
    lines += [_pipe(heads), _pipe(aligned), *map(_pipe, rows)]
    if sheet.notes:
        lines.append("")
    lines += [
        f"- **{escape_markdown(head)}**: {escape_markdown(text)}" for head, text in sheet.notes
    ]
    return "\n".join(lines) + "\n"


def _plain_cell(text: str) -> str:
    return text if _NUMBER.fullmatch(text) or text == "" else escape_markdown(text)


def _pipe(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def to_latex(sheet: Sheet, label: str = "") -> str:
    r"""A table environment with a ``booktabs`` table; numbers are in mathematics mode.

    Parameters
    ----------
    sheet : Sheet
        Its title is the caption, its notes stand below.
    label : str
        For ``\ref``.
    """
    heads = " & ".join(escape_latex(column) for column in sheet.columns)
    lines = [
        "% needs \\usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape_latex(sheet.title)}}}",
        *([rf"\label{{{label}}}"] if label else []),
        rf"\begin{{tabular}}{{l{'r' * (len(sheet.columns) - 1)}}}",
        r"\toprule",
        rf"{heads} \\",
        r"\midrule",
    ]
    for row in sheet.rows:
        cells = [escape_latex(row[0]), *map(_latex_cell, row[1:])]
        lines.append(rf"{' & '.join(cells)} \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    if sheet.notes:
        lines += ["", r"\smallskip", r"\begin{minipage}{\linewidth}\footnotesize\raggedright"]
        lines += [
            rf"\emph{{{escape_latex(head)}}}: {escape_latex(text)}\par"
            for head, text in sheet.notes
        ]
        lines.append(r"\end{minipage}")
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _latex_cell(text: str) -> str:
    parts = text.split(" .. ")
    if not all(_NUMBER.fullmatch(part) for part in parts):
        return escape_latex(text)
    numbers = [_latex_number(part) for part in parts]
    return numbers[0] if len(numbers) == 1 else f"[{', '.join(numbers)}]"


def _latex_number(text: str) -> str:
    mantissa, _, exponent = text.replace("\N{INFINITY}", r"\infty").partition("e")
    mantissa = mantissa.replace(MINUS, "-")
    if not exponent:
        return f"${mantissa}$"
    return rf"${mantissa} \times 10^{{{int(exponent.replace(MINUS, '-'))}}}$"
