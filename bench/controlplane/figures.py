"""Medians, percentiles and tables."""

import statistics


def summary(values):
    """Median, 90th and 99th percentile and maximum."""
    ordered = sorted(values)

    def percentile(share):
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    return {
        "count": len(ordered),
        "median": round(statistics.median(ordered), 3),
        "p90": round(percentile(0.9), 3),
        "p99": round(percentile(0.99), 3),
        "maximum": round(ordered[-1], 3),
    }


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def milliseconds(figures):
    return [f"{figures[name]:.1f}" for name in ("median", "p90", "p99", "maximum")]
