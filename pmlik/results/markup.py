"""Tables of strings as Markdown and LaTeX."""

import re
import unicodedata
from collections.abc import Sequence

from pmlik.labels import printable
from pmlik.results.format import MINUS
from pmlik.results.table import Table

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

# Capitals that look like Latin letters have no macro.
_CAPITALS = "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega"
_VARIANTS = {"epsilon": "varepsilon", "phi": "varphi", "final sigma": "varsigma"}


def _greek() -> dict[str, str]:
    """Return the macro of each Greek letter."""
    macros = {}
    for letter in map(chr, range(0x391, 0x3CA)):
        name = unicodedata.name(letter, "").lower().replace("lamda", "lambda")
        small = name.removeprefix("greek small letter ")
        capital = name.removeprefix("greek capital letter ").capitalize()
        if small != name and " with " not in small and small != "omicron":
            macros[letter] = rf"$\{_VARIANTS.get(small, small)}$"
        elif capital in _CAPITALS.split():
            macros[letter] = rf"$\{capital}$"
    return macros


_LATEX |= _greek()
_LATEX |= {
    "\N{MICRO SIGN}": r"$\mu$",
    "\N{DEGREE SIGN}": r"$^\circ$",
    "\N{SUPERSCRIPT TWO}": r"$^2$",
    "\N{SUPERSCRIPT THREE}": r"$^3$",
    "\N{NOT EQUAL TO}": r"$\neq$",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{EM DASH}": "---",
}

# Beyond these pdfLaTeX has no letters.
_LAST_LETTER = "\u017f"

# A longer name is divided into lines of this width.
_LONG_NAME, _NAME_WIDTH = 32, r"0.3\linewidth"

# Text is this wide in an article, in points. Sizes to choose from: the macro, the width of a
# digit, the space on each side of a column.
_TEXT_WIDTH = 345.0
_SIZES = (("", 5.2, 6), (r"\small", 4.8, 4), (r"\footnotesize", 4.45, 3), (r"\scriptsize", 3.9, 2))
_NARROW, _NARROW_WIDTH = frozenset(" .,[]()|'ijl"), 0.56

# Characters with a meaning inside a line; no text stands at its beginning.
_MARKDOWN = re.compile(r"([\\`*_\[\]|~$])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def escape_latex(text: str) -> str:
    """Return text that LaTeX typesets as it is."""
    return re.sub(r"--+|.", _latex_of, printable(text))


def _latex_of(match: re.Match[str]) -> str:
    text = match[0]
    # Several hyphens would be typeset as one dash.
    return "{}".join(text) if text.startswith("--") else _LATEX.get(text, text)


def escape_markdown(text: str) -> str:
    """Return text that Markdown shows as it is, in a table or outside."""
    safe = "".join(_ENTITIES.get(character, character) for character in printable(text))
    safe = _MARKDOWN.sub(r"\\\1", safe)
    # Addresses become links by themselves.
    return re.sub(r"(?i)\b(www)\.|(https?|ftp):", lambda m: m[0][:-1] + f"&#{ord(m[0][-1])};", safe)


def to_markdown(sheet: Table) -> str:
    """Return a pipe table with a title above and notes below."""
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


def to_latex(sheet: Table, label: str = "") -> str:
    r"""Return a table environment with a ``booktabs`` table; numbers are in mathematics mode.

    ``sheet``: its title is the caption, its notes stand below. ``label``: for ``\ref``.
    """
    heads = " & ".join(escape_latex(column) for column in sheet.columns)
    lines = [
        "% needs \\usepackage{booktabs}",
        *_needs_unicode(sheet),
        r"\begin{table}",
        r"\centering",
        *_smaller(sheet),
        rf"\caption{{{escape_latex(sheet.title)}}}",
        *([rf"\label{{{label}}}"] if label else []),
        rf"\begin{{tabular}}{{l{'r' * (len(sheet.columns) - 1)}}}",
        r"\toprule",
        rf"{heads} \\",
        r"\midrule",
    ]
    for row in sheet.rows:
        cells = [_latex_name(row[0]), *map(_latex_cell, row[1:])]
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


def _smaller(sheet: Table) -> list[str]:
    """Return the largest size in which the table fits an article's page, else the smallest."""
    table = zip(sheet.columns, *sheet.rows, strict=True)
    digits = sum(max(map(_count_digits, column)) for column in table)
    fitting = (
        size
        for size in _SIZES
        if digits * size[1] + 2 * size[2] * len(sheet.columns) <= _TEXT_WIDTH
    )
    macro, _, space = next(fitting, _SIZES[-1])
    return [rf"{macro}\setlength{{\tabcolsep}}{{{space}pt}}"] if macro else []


def _count_digits(text: str) -> float:
    """Return the width of a text in digits, roughly."""
    text = printable(text)[:_LONG_NAME]
    # Typeset as a power of ten.
    exponent = 2.0 if re.search(r"\de[+\d" + MINUS + "]", text) else 0.0
    return exponent + sum(_NARROW_WIDTH if c in _NARROW else 1.0 for c in text)


def _needs_unicode(sheet: Table) -> list[str]:
    """Return a comment where pdfLaTeX would stop."""
    texts = [sheet.title, *sheet.columns, *(row[0] for row in sheet.rows)]
    texts += [text for note in sheet.notes for text in note]
    strange = {c for text in texts for c in printable(text) if c > _LAST_LETTER} - set(_LATEX)
    text = f"% has {' '.join(sorted(strange))}: compile with lualatex or xelatex, and a font for it"
    return [text] if strange else []


def _latex_name(text: str) -> str:
    """Return a name; a long one may be broken anywhere, without hyphens."""
    if len(printable(text)) <= _LONG_NAME:
        return escape_latex(text)
    text = printable(text)
    parts = [escape_latex(text[i : i + 8]) for i in range(0, len(text), 8)]
    broken = r"\hspace{0pt}".join(parts)
    return rf"\parbox[t]{{{_NAME_WIDTH}}}{{\raggedright {broken}\strut}}"


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
