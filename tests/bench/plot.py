"""Plots as plain SVG text: no library, and a diff shows what changed.

    chart = Chart("title", "x", "y", x_max=..., y_max=...)
    chart.line("name", [(x, y), ...], colour)
    path.write_text(chart.svg())
"""

from math import ceil, floor, log10
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 40, 48
LABEL_PX = 14
# Told apart by the colour-blind too (Okabe and Ito).
COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999", "#000000",
           "#7f5f3f")


def ticks(top, about=6):
    """Round steps from 0 to at least `top`."""
    raw = max(top, 1e-9) / about
    step = next(m * 10 ** floor(log10(raw)) for m in (1, 2, 2.5, 5, 10)
                if m * 10 ** floor(log10(raw)) >= raw)
    return [step * i for i in range(ceil(top / step - 1e-9) + 1)]


class Chart:
    def __init__(self, title, x_name, y_name, x_max, y_max, x_ticks=None):
        self.title, self.x_name, self.y_name = title, x_name, y_name
        self.x_ticks = x_ticks or ticks(x_max)
        self.y_ticks = ticks(y_max)
        self.x_top = max(x_max, self.x_ticks[-1])
        self.y_top = self.y_ticks[-1]
        self.marks, self.legend = [], []

    def x(self, value):
        return LEFT + (WIDTH - LEFT - RIGHT) * value / self.x_top

    def y(self, value):
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(value, self.y_top) / self.y_top

    def line(self, name, points, colour, dots=False, width=2.0, dash=""):
        """name "": one more line of the last name."""
        path = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)
        style = f' stroke-dasharray="{dash}"' if dash else ""
        self.marks.append(f'<polyline points="{path}" fill="none" stroke="{colour}" '
                          f'stroke-width="{width}" stroke-linejoin="round"{style}/>')
        if dots:
            self.marks += [f'<circle cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" r="3.5" '
                           f'fill="{colour}"/>' for x, y in points]
        if name:
            self.legend.append((name, colour, dash))

    def _text(self, x, y, text, anchor="middle", more=""):
        return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(text)}</text>'

    def _axes(self):
        out = []
        for value in self.y_ticks:
            out.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" '
                       f'y1="{self.y(value):.1f}" y2="{self.y(value):.1f}"/>')
            out.append(self._text(LEFT - 6, self.y(value) + 4, f"{value:g}", "end"))
        for value in self.x_ticks:
            out.append(f'<line class="axis" x1="{self.x(value):.1f}" x2="{self.x(value):.1f}" '
                       f'y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM + 4}"/>')
            out.append(self._text(self.x(value), HEIGHT - BOTTOM + 17, f"{value:g}"))
        out.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{HEIGHT - BOTTOM}" '
                   f'y2="{HEIGHT - BOTTOM}"/>')
        out.append(self._text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, self.x_name))
        middle = (TOP + HEIGHT - BOTTOM) / 2
        out.append(self._text(14, middle, self.y_name, more=f' transform="rotate(-90 14 {middle})"'))
        out.append(self._text(LEFT, 18, self.title, "start", ' font-weight="bold"'))
        return out

    def _legend(self, x, y):
        out = []
        for row, (name, colour, dash) in enumerate(self.legend):
            at = y + row * LABEL_PX
            style = f' stroke-dasharray="{dash}"' if dash else ""
            out.append(f'<line x1="{x}" x2="{x + 18}" y1="{at - 4}" y2="{at - 4}" '
                       f'stroke="{colour}" stroke-width="2.5"{style}/>')
            out.append(self._text(x + 24, at, name, "start"))
        return out

    def svg(self, legend_at=(LEFT + 14, TOP + 10)):
        head = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
                f'width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="11">',
                "<style>.grid{stroke:#ddd}.axis{stroke:#555}text{fill:#222}</style>",
                f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>')
        return "\n".join([*head, *self._axes(), *self.marks, *self._legend(*legend_at), "</svg>", ""])
