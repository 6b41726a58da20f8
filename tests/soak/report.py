"""Samples of the soak, their quarters, and the verdict on growth.

Samples taken in calm (no full disk, no kill within CALM_SECONDS before) are compared: the median of the second quarter of
the run against that of the last. Room for noise is stated in TOLERANCE and printed with the table. Latencies are held
against a yardstick taken with each sample (a 4 KiB write and fdatasync, beside the server, by us): where the machine itself
got slower, so may the answers."""
import statistics

MIB = 1 << 20
CALM_SECONDS = 8
JUDGED_SECONDS = 600  # a shorter run shows figures, and judges loss only

# what: (factor, and this much more), in the sample's unit
TOLERANCE = {"net": (1.15, 24 * MIB), "fds": (1.1, 8), "files": (1.15, 10), "threads": (1.0, 2), "p50": (2.0, 0.003),
             "p99": (3.0, 0.060), "restart": (2.0, 0.5), "bytes": (1.2, 24 * MIB), "quarantine": (1.0, 1 * MIB),
             "journal": (1.0, 80 * MIB)}  # moves in steps of its largest file, 64 MiB
SHOWN = [("rss", "resident memory", MIB, "MiB"), ("net", "the same, less what the journal's window holds", MIB, "MiB"), ("fds", "open files", 1, ""), ("threads", "threads", 1, ""),
         ("files", "files in the store", 1, ""), ("journal", "journal", MIB, "MiB"), ("segments", "segments", MIB, "MiB"),
         ("catalogue", "catalogue", MIB, "MiB"), ("ballast", "ballast", MIB, "MiB"),
         ("quarantine", "quarantine", MIB, "MiB"), ("yardstick", "yardstick (sync of 4 KiB)", 0.001, "ms")]


def median(values):
    return statistics.median(values) if values else None


def tolerance(key):
    if key in TOLERANCE:
        return TOLERANCE[key]
    return TOLERANCE["bytes"]


def room(key, before, slower=1.0):
    factor, more = tolerance(key)
    return before * factor * slower + more * slower


class Samples:
    """Rows {"t": seconds since start, "calm": bool, key: value...}; at most some thousands of a few dozen numbers."""

    def __init__(self, seconds):
        self.seconds, self.rows, self.restarts, self.lives = seconds, [], [], []

    def add(self, row):
        self.rows.append(row)

    def quarter(self, i, key):
        lo, hi = self.seconds * i / 4, self.seconds * (i + 1) / 4
        return [r[key] for r in self.rows if lo <= r["t"] < hi and r["calm"] and r.get(key) is not None]

    def slower(self):
        a, b = median(self.quarter(1, "yardstick")), median(self.quarter(3, "yardstick"))
        return max(1.0, b / a) if a and b else 1.0

    def lines(self):
        """(key, title, unit size, unit, second quarter, last quarter, maximum, verdict)"""
        out = []
        for key, title, size, unit in SHOWN:
            out.append(self.line(key, title, size, unit))
        for key in sorted({k for r in self.rows for k in r if k.startswith(("p50 ", "p99 "))}, key=lambda k: (k[4:], k)):
            out.append(self.line(key, key[4:] + ", " + key[:3], 0.001, "ms"))
        return out

    def line(self, key, title, size, unit):
        before, after = median(self.quarter(1, key)), median(self.quarter(3, key))
        most = max((r[key] for r in self.rows if r.get(key) is not None), default=None)
        if before is None or after is None:
            verdict = "no samples"
        elif key in ("yardstick", "rss"):  # memory is a saw: what the next checkpoint takes away is held until then
            verdict = ""
        else:
            latency = key[:4] in ("p50 ", "p99 ")
            limit = room(key[:3] if latency else key, before, self.slower() if latency else 1.0)
            verdict = "flat" if after <= limit else "GREW"
        return key, title, size, unit, before, after, most, verdict

    def restart_line(self):
        half = self.seconds / 2
        before = median([s for t, s in self.restarts if t < half])
        after = median([s for t, s in self.restarts if t >= half])
        most = max((s for _, s in self.restarts), default=None)
        verdict = "no samples" if before is None or after is None else \
            "flat" if after <= room("restart", before, self.slower()) else "GREW"
        return "restart", "restart until ready", 0.001, "ms", before, after, most, verdict

    def life_lines(self):
        """Memory within each long life of a server: a leak must not hide behind restarts."""
        out = []
        for begin, end in self.lives:
            rows = [r["net"] for r in self.rows if begin <= r["t"] < end and r.get("net")]
            n = len(rows)
            if end - begin < 120 or n < 16:
                continue
            before, after = median(rows[n // 4:n // 2]), median(rows[3 * n // 4:])
            out.append(("life", "memory (net), life of %d s from %d s" % (end - begin, begin), MIB, "MiB", before, after, max(rows),
                        "flat" if after <= room("net", before) else "GREW"))
        return out

    def all_lines(self):
        return self.lines() + [self.restart_line()] + self.life_lines()


def table(lines):
    out = ["%-44s %12s %12s %12s  %s" % ("calm samples, medians", "2nd quarter", "last quarter", "maximum", "")]
    for _, title, size, unit, before, after, most, verdict in lines:
        def show(v):
            return "-" if v is None else "%.1f" % (v / size)
        out.append("%-44s %12s %12s %12s  %s" % (title + (" [" + unit + "]" if unit else ""), show(before), show(after),
                                                 show(most), verdict))
    out.append("tolerance: " + ", ".join("%s x%g + %s" % (k, f, "%d MiB" % (m / MIB) if m >= MIB else "%g%s" % (
        m * 1000 if k in ("p50", "p99", "restart") else m, " ms" if k in ("p50", "p99", "restart") else ""))
        for k, (f, m) in TOLERANCE.items()))
    return "\n".join(out)
