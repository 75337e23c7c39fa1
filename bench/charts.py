#!/usr/bin/python3
"""Draws the charts of docs/performance from results.json: bench/charts.py [results.json]"""

import json
import pathlib
import sys

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

OURS, UPSTREAM, NONE, TARGET, LEAST = "#2a6f97", "#d08c60", "#9a9a9a", "#b3261e", "#2b2b2b"
# The same numbers give the same file
plt.rcParams.update({"svg.hashsalt": "bench", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})


def save(figure, directory, name):
    figure.savefig(directory / f"{name}.svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


def versions(rows):
    return sorted({row["version"] for row in rows})


def least_ratio(row, key):
    """The least Lua's ratio to upstream's module, where there is one."""
    least, upstream = row.get("least"), row["upstream"]
    return least[key] / upstream[key] if least and upstream[key] >= 1 else None


def draw_ratios(rows, directory, name, title, ratio, target, least):
    """A bar for each event, with its target and the least Lua as marks."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 6), sharey=True)
    for axis, version in zip(axes, versions(rows)):
        chosen = [row for row in rows if row["version"] == version and row["name"] != "routing" and ratio(row)]
        places = range(len(chosen))
        values = [ratio(row) for row in chosen]
        axis.barh(places, [min(value, 2) for value in values], color=OURS)
        for place, (row, value) in enumerate(zip(chosen, values)):
            axis.text(min(value, 2) + 0.02, place, f"{value:.2f}", va="center", fontsize=7)
            if target(row):
                axis.plot([target(row)] * 2, [place - 0.4, place + 0.4], color=TARGET, linewidth=2)
            if least(row) is not None:
                axis.plot(min(max(least(row), 0), 2), place, "D", color=LEAST, markersize=4)
        axis.axvline(1, color=UPSTREAM, linewidth=1)
        axis.set_xlim(0, 2.2)
        axis.set_yticks(places, [row["title"] for row in chosen])
        axis.invert_yaxis() if not axis.yaxis_inverted() else None
        axis.set_title(f"Prosody {version}")
        axis.set_xlabel("ratio to upstream's module (1, the line); red: the target; diamond: the least Lua")
    figure.suptitle(title)
    save(figure, directory, name)


def draw_outstanding(rows, directory):
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.5), sharey=True)
    for axis, version in zip(axes, versions(rows)):
        for mode, style in (("answered", "-"), ("outstanding", "--")):
            chosen = [row for row in rows if row["version"] == version and row["mode"] == mode]
            for name, colour in (("ours", OURS), ("upstream", UPSTREAM)):
                axis.plot([row["to"] for row in chosen], [row[name] for row in chosen], style, color=colour,
                          label=f"{name}, {mode}")
        axis.set_ylim(bottom=0)
        axis.set_title(f"Prosody {version}")
        axis.set_xlabel("pushes before")
    axes[0].set_ylabel("µs of CPU per push")
    axes[0].legend(fontsize=7)
    figure.suptitle("The cost of a push, after many")
    save(figure, directory, "outstanding")


def draw_growth(rows, directory):
    rows = [row for row in rows if "upstream" in row]
    if not rows:
        return
    figure, axes = plt.subplots(1, 2, figsize=(10, 3), sharey=True)
    for axis, version in zip(axes, versions(rows)):
        chosen = [row for row in rows if row["version"] == version]
        for shift, name, colour in ((-0.2, "ours", OURS), (0.2, "upstream", UPSTREAM)):
            values = [max(0, row[name]["heap"]) for row in chosen]
            bars = axis.barh([place + shift for place in range(len(chosen))], values, 0.4, color=colour, label=name)
            axis.bar_label(bars, fmt="%.0f", fontsize=7, padding=2)
        axis.set_yticks(range(len(chosen)), ["per " + row["title"] for row in chosen])
        axis.set_title(f"Prosody {version}")
        axis.set_xlabel("bytes of Lua heap that stay")
    axes[0].invert_yaxis()
    axes[1].legend(fontsize=7)
    figure.suptitle("Growth")
    save(figure, directory, "growth")


def draw_outside(rows, directory):
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.2))
    rows = sorted(rows, key=lambda row: row["version"])
    labels = [f"Prosody {row['version']}" for row in rows]
    for shift, name, colour in ((-0.2, "ours", OURS), (0.2, "upstream", UPSTREAM)):
        places = [place + shift for place in range(len(rows))]
        bars = axes[0].bar(places, [row[name]["added"] for row in rows], 0.4, color=colour, label=name)
        axes[0].bar_label(bars, fmt="%.0f", fontsize=7)
        for axis, kind in ((axes[1], "offline"), (axes[2], "hibernated")):
            for quantile, alpha in (("p99", 0.3), ("p95", 0.6), ("p50", 1)):
                axis.bar(places, [row[name][kind][quantile] * 1000 for row in rows], 0.4, color=colour, alpha=alpha)
    axes[0].set_title("CPU added per message (µs)")
    axes[0].legend(fontsize=7)
    axes[1].set_title("Push latency, offline (ms)")
    axes[2].set_title("Push latency, hibernated (ms)")
    for axis in axes[1:]:
        axis.set_yscale("log")
        axis.set_xlabel("p50, p95, p99 from dark to light")
    for axis in axes:
        axis.set_xticks(range(len(rows)), labels)
    save(figure, directory, "outside")


def main():
    path = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "docs/performance/results.json")
    results = json.loads(path.read_text(encoding="utf-8"))
    directory = path.parent
    draw_ratios(results["events"], directory, "events", "CPU per event, the collector's share included",
                lambda row: row["ratio"]["median"], lambda row: row.get("target"), lambda row: least_ratio(row, "us"))
    draw_ratios(results["events"], directory, "garbage", "Bytes of garbage per event",
                lambda row: row.get("bytes_ratio"), lambda row: row.get("bytes_target"),
                lambda row: least_ratio(row, "bytes"))
    draw_outstanding(results["outstanding"], directory)
    draw_growth(results["growth"], directory)
    draw_outside(results["outside"], directory)


if __name__ == "__main__":
    main()
