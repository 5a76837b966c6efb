"""What nearest.py measured as Markdown tables, as bars, and, for growth, as curves with a fitted power law, in SVG."""
import math
from xml.sax.saxutils import escape

OURS, THEIRS, GREY = "#1b6ca8", "#b5bcc4", "#6a737d"
CURVES = {"mneme, exact scan": "#c8553d", "mneme, index": OURS}
GROWTH = (("p50_ms", "warm p50, ms"), ("whole_s", "write and build, s"), ("resident_own_mb", "resident memory, MB"), ("mb", "on disk, MB"))


def own_memory(row):
    return max(0.1, row["resident_mb"] - row["resident_before_mb"])


def built(row):
    return f"{row['build_s']:.1f}" if row["build_s"] else "-"


def name_of(row):
    return " ".join(filter(None, (row["engine"], row.get("version"))))


def heading(result):
    what = f"{result['n']:,} vectors, " if "n" in result else ""
    return f"{result['machine']}; {what}{result['questions']} questions ({result['sets']}) one at a time; {result['date']}"


# ---- Markdown

def comparison(result):
    lines = ["| engine | recall@10 | ef | p50 ms | p99 ms | build s | disk MB | resident MB | fresh process ms (open and ask) |",
             "|---|---|---|---|---|---|---|---|---|"]
    for row in result["rows"]:
        lines.append(f"| {name_of(row)} | {row['recall']:.4f} | {row.get('ef') or '-'} | {row['p50_ms']:.2f} | {row['p99_ms']:.2f} | "
                     f"{built(row)} | {row['bytes'] / 1e6:.0f} | {own_memory(row):.0f} | "
                     f"{row['fresh_ms']:.0f} ({row['fresh_inside_ms']:.1f}) |")
    writes = [row["write_s"] for row in result["rows"] if "write_s" in row]
    if writes:
        lines += ["", f"mneme: records with texts written durably in {writes[0]:.1f} s; building an index comes on top of that."]
    short = [name_of(row) for row in result["rows"] if row["recall"] < result["recall"]]
    if short:
        lines += ["", f"Below recall {result['recall']} with every ef that was tried: {', '.join(short)}."]
    return lines


def upper_half(points):
    return points[-max(2, (len(points) + 1) // 2):]


def fit(points):
    """(a, b) of y = a n^b by least squares of the logarithms, over the upper half of the sizes: what is constant bends the curve
    below. At least two points."""
    points = upper_half(points)
    x, y = [math.log(n) for n, _ in points], [math.log(max(value, 1e-9)) for _, value in points]
    middle, height = sum(x) / len(x), sum(y) / len(y)
    b = sum((a - middle) * (c - height) for a, c in zip(x, y)) / sum((a - middle) ** 2 for a in x)
    return math.exp(height - b * middle), b


def values(result, engine, key):
    rows = [row for row in result["growth"] if row["engine"] == engine]
    get = {"resident_own_mb": own_memory, "mb": lambda row: row["bytes"] / 1e6,
           "whole_s": lambda row: row["write_s"] + row["build_s"]}.get(key, lambda row: row[key])
    return [(row["n"], get(row)) for row in rows]


def engines(result):
    return list(dict.fromkeys(row["engine"] for row in result["growth"]))


def growth(result):
    lines = ["| engine | vectors | recall@10 | p50 ms | p99 ms | written s | build s | resident MB | disk MB | fresh process ms |",
             "|---|---|---|---|---|---|---|---|---|---|"]
    for row in result["growth"]:
        lines.append(f"| {row['engine']} | {row['n']:,} | {row['recall']:.4f} | {row['p50_ms']:.3f} | {row['p99_ms']:.3f} | {row['write_s']:.1f} | "
                     f"{built(row)} | {own_memory(row):.0f} | {row['bytes'] / 1e6:.0f} | {row['fresh_ms']:.0f} |")
    lines += ["", "| engine | what | law | at 100,000,000 |", "|---|---|---|---|"]
    for engine in engines(result):
        for key, title in GROWTH:
            points = values(result, engine, key)
            if len(points) > 1:
                a, b = fit(points)
                lines.append(f"| {engine} | {title} | {a:.2g} n^{b:.2f} | {a * 1e8 ** b:,.3g} |")
    return lines


def markdown(result):
    return "\n".join([heading(result), ""] + (growth(result) if "growth" in result else comparison(result)))


# ---- SVG

def frame(width, height, title, subtitle, body):
    head = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
            'font-family="sans-serif" font-size="12">', f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
            f'<text x="12" y="24" font-size="16" font-weight="bold">{escape(title)}</text>',
            f'<text x="12" y="44" font-size="11" fill="{GREY}">{escape(subtitle)}</text>']
    return "\n".join(head + body + ["</svg>"]) + "\n"


def short(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def bars(rows, get, title, y, wanted, left=210):
    """Bars on a logarithmic scale from y on, the shortest first; elements, and the y below them."""
    room, out = 610 - left, [f'<text x="12" y="{y}" font-weight="bold">{escape(title)}</text>']
    rows = sorted(rows, key=get)
    low, high = math.log10(get(rows[0])) - 0.3, math.log10(get(rows[-1]))
    for i, row in enumerate(rows):
        top = y + 12 + i * 24
        width = room * (math.log10(get(row)) - low) / max(1e-9, high - low)
        colour = OURS if row["engine"].startswith("mneme") else THEIRS
        short_of = f' <tspan fill="{GREY}">at recall {row["recall"]:.3f}</tspan>' if row["recall"] < wanted else ""
        out += [f'<text x="{left - 8}" y="{top + 14}" text-anchor="end">{escape(name_of(row))}</text>',
                f'<rect x="{left}" y="{top}" width="{width:.1f}" height="18" fill="{colour}"/>',
                f'<text x="{left + width + 6:.1f}" y="{top + 14}">{short(get(row))}{short_of}</text>']
    return out, y + 12 + len(rows) * 24 + 26


def comparison_svg(result):
    body, y = [], 76
    for title, get in (("warm, one question: median ms", lambda r: r["p50_ms"]), ("fresh process, one question: ms", lambda r: r["fresh_ms"]),
                       ("build, mneme beside its records: s", lambda r: r["build_s"]), ("resident: MB", own_memory)):
        part, y = bars([row for row in result["rows"] if get(row)], get, title, y, result["recall"])
        body += part
    return frame(760, y, f"The ten nearest at recall {result['recall']}; logarithmic bars", heading(result), body)


def decades(low, high):
    return [10 ** e for e in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]


def panel(result, key, title, left, top):
    """One log-log panel of 300 x 190: a curve and a fitted line for each engine."""
    width, height = 270, 170
    series = {engine: values(result, engine, key) for engine in engines(result)}
    every = [point for points in series.values() for point in points]
    across = decades(min(n for n, _ in every), max(n for n, _ in every))
    up = decades(min(v for _, v in every), max(v for _, v in every))
    def place(n, value):
        x = left + width * math.log10(n / across[0]) / max(1e-9, math.log10(across[-1] / across[0]))
        return x, top + height - height * math.log10(value / up[0]) / max(1e-9, math.log10(up[-1] / up[0]))
    out = [f'<text x="{left}" y="{top - 12}" font-weight="bold">{escape(title)}</text>']
    for value in up:
        y = place(across[0], value)[1]
        out += [f'<line x1="{left}" y1="{y:.1f}" x2="{left + width}" y2="{y:.1f}" stroke="#e4e7ea"/>',
                f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end" fill="{GREY}">{value:g}</text>']
    for n in across:
        out.append(f'<text x="{place(n, up[0])[0]:.1f}" y="{top + height + 16}" text-anchor="middle" fill="{GREY}">{n:,}</text>')
    for row, (engine, points) in enumerate(series.items()):
        colour = CURVES.get(engine, "#000000")
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>' for x, y in (place(*p) for p in points)]
        if len(points) < 2:
            continue
        a, b = fit(points)
        ends = [place(n, min(max(a * n ** b, up[0]), up[-1])) for n, _ in (upper_half(points)[0], points[-1])]
        out.append(f'<line x1="{ends[0][0]:.1f}" y1="{ends[0][1]:.1f}" x2="{ends[1][0]:.1f}" y2="{ends[1][1]:.1f}" stroke="{colour}" '
                   'stroke-width="2" stroke-dasharray="5 4"/>')
        out.append(f'<text x="{left + 8}" y="{top + 14 + 15 * row}" fill="{colour}">n^{b:.2f}</text>')
    return out


def growth_svg(result):
    body, x = [], 12
    for engine in engines(result):
        body += [f'<circle cx="{x + 5}" cy="62" r="4" fill="{CURVES.get(engine, "#000000")}"/>', f'<text x="{x + 14}" y="66">{escape(engine)}</text>']
        x += 150
    body.append(f'<text x="{x + 8}" y="66" fill="{GREY}">dashed: the fitted power law</text>')
    for i, (key, title) in enumerate(GROWTH):
        body += panel(result, key, title, 70 + (i % 2) * 370, 110 + (i // 2) * 240)
    body.append(f'<text x="12" y="572" fill="{GREY}">vectors of 384 numbers; all axes logarithmic</text>')
    return frame(760, 590, "How mneme grows", heading(result), body)


def svg(result):
    return growth_svg(result) if "growth" in result else comparison_svg(result)
