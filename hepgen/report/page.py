"""One HTML page: its style, tables and figures. Everything that comes from files is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from hepgen.metrics import Estimate
from hepgen.report.drawing import Picture

__all__ = ["cards", "figures", "number", "page", "section", "table"]

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --line: #d8dde5;
  --paper: #ffffff; --shade: #f4f6f9; --mark: #2f6bd8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e8ef; --soft: #9aa5b4; --line: #323b47;
  --paper: #12171e; --shade: #1a212a; --mark: #8ab4ff; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial,
  sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 2.5rem 1.5rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.8rem 0 .8rem; padding-bottom: .3rem;
  border-bottom: 1px solid var(--line); }
p { max-width: 46rem; } .lead, figcaption, .note { color: var(--soft); }
.lead { margin: 0 0 1.6rem; } .note { font-size: .88rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(13.5rem, 1fr)); gap: .8rem; }
.card { background: var(--shade); border-radius: .6rem; padding: .8rem 1rem; }
.card b { display: block; font-size: 1.12rem; font-weight: 650; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
.card span { color: var(--soft); font-size: .88rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .94rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .38rem 1.4rem .38rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
th { font-weight: 600; } tbody th { white-space: nowrap; }
thead th { color: var(--soft); font-size: .85rem; }
td { white-space: nowrap; } td.text { white-space: normal; overflow-wrap: anywhere; }
td small { display: block; color: var(--soft); }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr));
  gap: 1.8rem 2rem; }
figure { margin: 0; break-inside: avoid; } figure svg { width: 100%; height: auto; display: block; }
figure h3 { font-size: 1rem; margin: 0 0 .4rem; }
figcaption { font-size: .88rem; margin-top: .4rem; }
code { font: .9em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
footer { margin-top: 3rem; color: var(--soft); font-size: .88rem; }
@media print { :root { color-scheme: light; --ink: #000; --soft: #444; --line: #bbb; --paper: #fff;
  --shade: #f2f2f2; } main { max-width: none; padding: 0; } body { font-size: 10.5pt; }
  .figures { grid-template-columns: 1fr 1fr; } h2 { break-after: avoid; } }
"""


def page(title: str, lead: str, sections: Sequence[str], footer: str) -> bytes:
    """The whole page in UTF-8, without anything from outside.

    Args:
        title: heading, and title of the window.
        lead: a sentence below it.
        sections: HTML, as the functions here make it.
        footer: a sentence at the end.
    """
    body = "\n".join(sections)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>{escape(title)}</h1>
<p class="lead">{escape(lead)}</p>
{body}
<footer>{escape(footer)}</footer>
</main>
</body>
</html>
""".encode()


def section(heading: str, *parts: str, note: str = "") -> str:
    """A section; the note, plain text, comes last."""
    end = [f'<p class="note">{escape(note)}</p>'] if note else []
    return "\n".join(["<section>", f"<h2>{escape(heading)}</h2>", *parts, *end, "</section>"])


def number(estimate: Estimate | None, extra: str = "") -> str:
    """A cell with a value and its error, and a smaller line below."""
    text = "–" if estimate is None else escape(str(estimate))
    return f"{text}<small>{escape(extra)}</small>" if extra else text


def cards(numbers: Sequence[tuple[str, str]]) -> str:
    """Numbers to see first: (value, what it is)."""
    inner = "".join(
        f'<div class="card"><b>{escape(value)}</b><span>{escape(name)}</span></div>'
        for value, name in numbers
    )
    return f'<div class="cards">{inner}</div>'


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, text: Sequence[int] = ()) -> str:
    """A table whose first column names the rows.

    Args:
        header: plain texts; none for a table without.
        rows: the first cell plain text, the others HTML.
        text: columns that may be broken into lines.
    """
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    lines = []
    for first, *cells in rows:
        inner = ""
        for column, cell in enumerate(cells, start=1):
            inner += f'<td class="text">{cell}</td>' if column in text else f"<td>{cell}</td>"
        lines.append(f'<tr><th scope="row">{escape(first)}</th>{inner}</tr>')
    top = f"<thead><tr>{head}</tr></thead>" if header else ""
    return f'<div class="wide"><table>{top}<tbody>{"".join(lines)}</tbody></table></div>'


def figures(pictures: Sequence[Picture]) -> str:
    """Figures side by side where there is room."""
    inner = []
    for picture in pictures:
        name = f'<svg role="img" aria-label="{escape(picture.title, quote=True)}"'
        inner.append(
            f"<figure><h3>{escape(picture.title)}</h3>{picture.svg.replace('<svg', name, 1)}"
            f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
        )
    return f'<div class="figures">{"".join(inner)}</div>'
