"""What compare_encoders.py measured as a Markdown table and as a bar chart in SVG."""
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT, BAR, GAP = 760, 190, 150, 22, 8


def heading(result):
    return (f"{result['processor']} ({', '.join(result['instructions'])}), {result['threads']} threads each, median of "
            f"{result['rounds']} rounds in turn, {result['date']}")


def name_of(row):
    return " ".join(filter(None, (row["engine"], row.get("version"))))


def markdown(result):
    lines = [heading(result)]
    for work in result["workloads"]:
        lines += ["", f"{work['texts']:,} {work['workload']} of {work['tokens_per_text']:.0f} tokens:", "",
                  "| engine | tokens/s | least to most | cosine to torch f32: least | mean | setting |", "|---|---|---|---|---|---|"]
        for row in work["rows"]:
            setting = ", ".join(f"{key} {value}" for key, value in row.get("setting", {}).items())
            lines.append(f"| {name_of(row)} | {row['tokens_per_s']:,.0f} | {row['least']:,.0f} - {row['most']:,.0f} | "
                         f"{row['cosine_min']:.7f} | {row['cosine_mean']:.7f} | {setting} |")
    return "\n".join(lines)


def bars(work, top, y):
    """The bars of one workload from y on: elements, and the y below them."""
    out = [f'<text x="12" y="{y}" font-weight="bold">{work["texts"]:,} {escape(work["workload"])} of '
           f'{work["tokens_per_text"]:.0f} tokens</text>']
    y += 12
    for row in work["rows"]:
        width = (WIDTH - LEFT - RIGHT) * row["tokens_per_s"] / top
        colour = "#1b6ca8" if row["engine"].startswith("mneme") else "#b5bcc4"
        middle = y + BAR / 2 + 4
        out += [f'<text x="{LEFT - 8}" y="{middle}" text-anchor="end">{escape(name_of(row))}</text>',
                f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{colour}"/>',
                f'<text x="{LEFT + width + 6:.1f}" y="{middle}">{row["tokens_per_s"]:,.0f} '
                f'<tspan fill="#6a737d">cos {row["cosine_min"]:.5f}</tspan></text>']
        y += BAR + GAP
    return out, y + 22


def svg(result):
    top = max(row["tokens_per_s"] for work in result["workloads"] for row in work["rows"])
    body, y = [], 84
    for work in result["workloads"]:
        part, y = bars(work, top, y)
        body += part
    head = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}" '
            'font-family="sans-serif" font-size="13">', f'<rect width="{WIDTH}" height="{y}" fill="#ffffff"/>',
            '<text x="12" y="24" font-size="16" font-weight="bold">Encoding with all-MiniLM-L6-v2, tokens per second</text>',
            f'<text x="12" y="44" font-size="11" fill="#6a737d">{escape(heading(result))};</text>',
            '<text x="12" y="58" font-size="11" fill="#6a737d">cos: the least cosine to torch f32</text>']
    return "\n".join(head + body + ["</svg>"]) + "\n"
