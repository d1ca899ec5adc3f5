"""Pieces of a page: text that is escaped, tables, figures, and one style for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #282a30; background: #fafaf8;
  margin: 2rem auto; max-width: 1180px; padding: 0 1.2rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; }
h2 { margin-top: 2.6rem; border-bottom: 1px solid #dcdcd8; }
h3 { margin-bottom: .3rem; }
p.note, figcaption, .legend { color: #6a6e78; font-size: .86rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .88rem; margin: .6rem 0; }
th, td { padding: .22rem .7rem; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
thead th { border-bottom: 2px solid #282a30; vertical-align: bottom; } tbody tr:nth-child(even) { background: #f1f1ee; }
td.best { font-weight: 700; } td.better { background: #ddefdb; } td.worse { background: #f7ded8; }
td small { color: #6a6e78; }
figure { margin: 1rem 0 1.6rem; }
figure video { width: 100%; display: block; background: #282a30; image-rendering: pixelated; }
figure img { max-width: 100%; display: block; margin-top: .4rem; }
.names { display: grid; grid-auto-flow: column; grid-auto-columns: 1fr; font-size: .86rem; text-align: center; }
.cases { display: grid; grid-template-columns: repeat(auto-fit, minmax(340px, 1fr)); gap: 1.2rem; }
.charts { display: flex; flex-wrap: wrap; gap: 1rem; } svg text { font: 11px system-ui, sans-serif; fill: #6a6e78; }
"""


@dataclass(frozen=True)
class Cell:
    """Text of a table's cell, that of a small line behind it, a class of `STYLE`, and what is told under the mouse."""

    text: str
    small: str = ""
    mark: str = ""
    hint: str = ""

    def html(self, tag: str = "td") -> str:
        """The cell as HTML."""
        attributes = f' class="{self.mark}"' if self.mark else ""
        attributes += f' title="{escape(self.hint)}"' if self.hint else ""
        small = f" <small>{escape(self.small)}</small>" if self.small else ""
        return f"<{tag}{attributes}>{escape(self.text)}{small}</{tag}>"


def table(heads: Sequence[Cell | str], rows: Sequence[Sequence[Cell | str]]) -> str:
    """A table as HTML; a row's first cell names it."""
    head = "".join(_cell(cell).html("th") for cell in heads)
    body = "".join(f"<tr>{''.join(_cell(cell).html() for cell in row)}</tr>\n" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>\n'


def heading(text: str, level: int = 2) -> str:
    """A heading as HTML."""
    return f"<h{level}>{escape(text)}</h{level}>\n"


def note(text: str) -> str:
    """A small paragraph as HTML."""
    return f'<p class="note">{escape(text)}</p>\n'


def listed(lines: Sequence[str]) -> str:
    """A list as HTML."""
    return '<ul class="legend">' + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>\n"


def figure(video: str, names: Sequence[str], picture: str, caption: str) -> str:
    """A video that plays over and over under the names of its parts, a picture and a caption; either may be "".

    Args:
        video, picture: addresses, `data:` ones.
        names: of what stands side by side in the video.
        caption: below it.
    """
    parts = ["<figure>"]
    if video:
        parts.append(f'<div class="names">{"".join(f"<span>{escape(name)}</span>" for name in names)}</div>')
        parts.append(f'<video src="{video}" autoplay loop muted playsinline controls></video>')
    if picture:
        parts.append(f'<img src="{picture}" alt="{escape(caption)}">')
    return "".join([*parts, f"<figcaption>{escape(caption)}</figcaption></figure>\n"])


def page(title: str, body: Sequence[str]) -> str:
    """The whole page; nothing in it is fetched from elsewhere."""
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    head = f"<head>{head}<style>{STYLE}</style></head>"
    return f'<!doctype html>\n<html lang="en">{head}\n<body>\n{"".join(body)}</body></html>\n'


def _cell(cell: Cell | str) -> Cell:
    return cell if isinstance(cell, Cell) else Cell(cell)
