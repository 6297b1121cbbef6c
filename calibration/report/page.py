"""The frame of the report: headings, paragraphs, tables and styles of one HTML file without anything from outside.

This file must never know what is reported.
"""

import html
from collections.abc import Sequence

_STYLE = """
:root{--ink:#1b1f24;--dim:#59626d;--page:#fff;--soft:#f3f5f7;--rule:#d5dae0;--warn:#fff3cd;--warnink:#5c4400;
--c0:#2563a8;--c1:#c2571a;--c2:#3a7d44;--c3:#8a4fa3;--c4:#a8323e;--c5:#60707f}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ed;--dim:#9aa5b1;--page:#14181d;--soft:#1e242b;--rule:#38414b;--warn:#40350f;
--warnink:#f5dd90;--c0:#7ab3ec;--c1:#f0a065;--c2:#85cc90;--c3:#caa0dd;--c4:#ee8b94;--c5:#a9b6c2}}
*{box-sizing:border-box}body{margin:0 auto;max-width:70rem;padding:1rem;font:16px/1.5 system-ui,sans-serif;color:var(--ink);
background:var(--page)}h1{font-size:1.6rem}h2{font-size:1.25rem;margin-top:2.2rem;border-bottom:1px solid var(--rule)}
p.note{color:var(--dim);font-size:.9rem}p.warning{background:var(--warn);color:var(--warnink);padding:.7rem;border-radius:.4rem}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.88rem;min-width:100%}
th,td{padding:.25rem .6rem;text-align:right;border-bottom:1px solid var(--rule);white-space:nowrap}
td:first-child,th:first-child{text-align:left}td.words{white-space:normal;text-align:left;min-width:16rem}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,22rem),1fr));gap:1rem}
figure{margin:0;padding:.6rem;background:var(--soft);border-radius:.4rem}figcaption{font-weight:600;font-size:.95rem}
svg{width:100%;height:auto}.grid{stroke:var(--rule)}.zero{stroke:var(--dim)}.tick{font-size:11px;fill:var(--dim)}.name{font-size:12px;fill:var(--ink)}
.line{fill:none;stroke-width:2}.band{opacity:.18;stroke:none}.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.2rem 1rem;
margin:.3rem 0 0;padding:0;font-size:.82rem;color:var(--dim)}.legend i{display:inline-block;width:.9em;height:.9em;
margin-right:.35em;border-radius:2px;vertical-align:-.1em}
""" + "".join(
    f".s{n}.line{{stroke:var(--c{n})}}.s{n}.band,.s{n}.bar{{fill:var(--c{n})}}.k{n}{{background:var(--c{n})}}"
    for n in range(6)
)


def page(title: str, parts: Sequence[str]) -> str:
    """The whole file."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,'
        f'initial-scale=1"><title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>'
        f"<h1>{html.escape(title)}</h1>{''.join(parts)}</body></html>\n"
    )


def heading(text: str) -> str:
    """A section begins."""
    return f"<h2>{html.escape(text)}</h2>"


def paragraph(text: str, kind: str = "") -> str:
    """Plain words; `kind` is `note`, `warning` or nothing."""
    return f'<p class="{kind}">{html.escape(text)}</p>'


def figures(pictures: Sequence[str]) -> str:
    """Pictures beside each other where there is room."""
    return f'<div class="figures">{"".join(pictures)}</div>'


def table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table that scrolls sideways on a phone; cells of more than 40 characters may break."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    body = "".join(
        "<tr>"
        + "".join(f"<td{' class=words' if len(cell) > 40 else ''}>{html.escape(cell)}</td>" for cell in row)
        + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
