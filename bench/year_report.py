"""What simulated_year.py measured as a Markdown table and as curves in SVG."""
from xml.sax.saxutils import escape

WIDTH, HEIGHT, TOP, PLOT_WIDTH, PLOT_HEIGHT, LEFT, BETWEEN = 760, 430, 92, 320, 230, 46, 44
COLOURS = {"strength": "#1b6ca8", "importance": "#5fb0d9", "newest": "#c8553d", "random": "#8a929a", "everything kept": "#3c444c"}


def count(n, word):
    return f"{n:,} {word}" + ("" if n == 1 else "s")


def heading(result):
    times = "once" if result["times"] == 1 else f"{result['times']} times"
    draws = f"; mean of {result['years']} draws of these" if result["years"] > 1 else ""
    return (f"{count(result['conversations'], 'conversation')}, {count(result['records'], 'turn')}, "
            f"{count(result['questions'], 'question')}, {result['asked']:.0%} of them asked along the way, {times}{draws}")


def markdown(result):
    lines = [heading(result), "", "| kept | policy | not asked before | asked before | when asked | evidence kept |",
             "|---|---|---|---|---|---|"]
    for row in sorted(result["rows"], key=lambda row: -row["share"]):
        lines.append(f"| {row['share']:.0%} | {row['policy']} | " +
                     " | ".join(f"{row[name]:.3f}" for name in ("unseen", "repeat", "along", "kept")) + " |")
    return "\n".join(lines)


def axes(left, title):
    bottom = TOP + PLOT_HEIGHT
    out = [f'<text x="{left}" y="{TOP - 14}" font-weight="bold">{escape(title)}</text>']
    for tenth in range(0, 11, 2):
        y = bottom - PLOT_HEIGHT * tenth / 10
        out += [f'<line x1="{left}" y1="{y:.1f}" x2="{left + PLOT_WIDTH}" y2="{y:.1f}" stroke="#e4e7ea"/>',
                f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#6a737d">{tenth / 10:.1f}</text>']
    return out


def across(left, share):
    return left + PLOT_WIDTH * share


def curve(left, result, row):
    points = [(across(left, share), TOP + PLOT_HEIGHT * (1 - value))
              for share, value in zip(result["checkpoints"], row["over_time"])]
    colour = COLOURS.get(row["policy"], "#000000")
    dashes = ' stroke-dasharray="5 4"' if row["share"] == 1 else ""
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return ([f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2.5"{dashes}/>'] +
            [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points])


def legend(rows, y):
    out, x = [], LEFT
    for policy in dict.fromkeys(row["policy"] for row in rows):
        out += [f'<rect x="{x}" y="{y - 9}" width="18" height="4" fill="{COLOURS.get(policy, "#000000")}"/>',
                f'<text x="{x + 24}" y="{y - 3}">{escape(policy)}</text>']
        x += 44 + 8 * len(policy)
    return out


def svg(result):
    whole = [row for row in result["rows"] if row["share"] == 1]
    body = []
    for i, share in enumerate(sorted({row["share"] for row in result["rows"] if row["share"] < 1}, reverse=True)):
        left = LEFT + i * (PLOT_WIDTH + BETWEEN)
        body += axes(left, f"{share:.0%} of the turns may be kept")
        body += [f'<text x="{across(left, at):.1f}" y="{TOP + PLOT_HEIGHT + 18}" text-anchor="middle" fill="#6a737d">{at:.0%}'
                 '</text>' for at in result["checkpoints"]]
        for row in whole + [row for row in result["rows"] if row["share"] == share]:
            body += curve(left, result, row)
    body.append(f'<text x="{LEFT}" y="{TOP + PLOT_HEIGHT + 38}" fill="#6a737d">sessions that have passed</text>')
    head = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
            'font-family="sans-serif" font-size="12">', f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
            '<text x="12" y="24" font-size="16" font-weight="bold">Evidence recall@10 of questions that were never asked '
            'before</text>', f'<text x="12" y="44" font-size="11" fill="#6a737d">{escape(heading(result))}</text>']
    return "\n".join(head + body + legend(result["rows"], HEIGHT - 24) + ["</svg>"]) + "\n"
