"""What bench/compare found: tables of figures and of ratios."""

import os
import pathlib
import platform
import statistics
import subprocess
from datetime import date

import durable
import plot

BEGIN = "<!-- bench/compare writes from here -->"
END = "<!-- bench/compare writes to here -->"
OURS, FLOOR = "Countersign", "floor"


class Results:
    """Medians of all runs, by load and broker."""

    def __init__(self, scenarios, found, versions, pace, runs, kept):
        self.scenarios = scenarios
        self.versions = versions
        self.pace = pace
        self.runs = runs
        self.kept = {title: medians(runs) for title, runs in kept.items()}
        self.brokers = list(next(iter(found.values()), {}))
        self.peers = [name for name in self.brokers if name not in (OURS, FLOOR)]
        self.medians = {
            scenario: {name: medians(runs) for name, runs in by.items()}
            for scenario, by in found.items()
        }
        self.errors = sorted({
            f"{name}, {scenario}: {run['error']}"
            for scenario, by in found.items() for name, runs in by.items()
            for run in runs if "error" in run
        })

    def value(self, scenario, broker, figure):
        return self.medians[scenario.name].get(broker, {}).get(figure)

    def best(self, scenario, figure, choose):
        """The best peer, and its figure."""
        found = [(self.value(scenario, peer, figure), peer) for peer in self.peers]
        found = [(value, peer) for value, peer in found if value]
        return choose(found) if found else (None, None)

    def markdown(self):
        loads = [self.ratios, self.costs, self.rates, self.rest] if self.scenarios else []
        parts = [self.head(), *(part() for part in loads), self.durable(), self.notes()]
        return "\n".join(part for part in parts if part)

    def head(self):
        versions = "".join(f"- {name}: {version}\n" for name, version in self.versions.items())
        kind = f"{self.runs} runs of {self.pace.seconds:g} s each, alternated; medians"
        if self.runs == 1:
            kind = f"one run of {self.pace.seconds:g} s"
        return (
            f"Measured {date.today():%d %B %Y} on {machine()}, with `bench/compare"
            f"{' --quick' if self.pace.name == 'quick' else ''}`: {kind}. Every client shows a "
            "certificate (P-256), TLS 1.3, X25519 where nothing else is said, MQTT 5. Broker and "
            "load share the machine. Every message was checked: nothing was lost, doubled or "
            "reordered where there is a figure.\n\n"
            f"{versions}- floor: forwards the same frames over tokio-rustls with no broker "
            "behind them (`countersign bench floor`)\n"
        )

    def ratios(self):
        """Ours against the floor and against the best of the peers."""
        rows = []
        for scenario in self.scenarios:
            row = [scenario.title]
            for figure, choose in (("broker_cpu_us", min), ("per_second", max)):
                if not scenario.has_cost or (scenario.is_rate and figure == "per_second"):
                    row += ["", ""]
                    continue
                ours = self.value(scenario, OURS, figure)
                best, peer = self.best(scenario, figure, choose)
                row.append(ratio(ours, self.value(scenario, FLOOR, figure)))
                row.append(f"{ratio(ours, best)} {peer}" if best and ours else "–")
            if any(row[1:]):
                rows.append(row)
        columns = ["", "CPU, × floor", "CPU, × best peer", "rate, × floor", "rate, × best peer"]
        text = "Countersign's processor time for each delivery (or connection), and how many there"
        text += " are a second. Below 1 is better for CPU, above 1 for the rate."
        return section("Against the floor and the best peer", text, columns, rows)

    def costs(self):
        rows = [
            [scenario.title, *(cpu(self.value(scenario, name, "broker_cpu_us")) for name in self.brokers)]
            for scenario in self.scenarios if scenario.has_cost
        ]
        text = "Seconds of broker CPU for a million deliveries or connections (µs for each)."
        return section("Processor time", text, ["", *self.brokers], rows)

    def rates(self):
        rows = [
            [scenario.title, *(rate(self.value(scenario, name, "per_second")) for name in self.brokers)]
            for scenario in self.scenarios if not (scenario.is_idle or scenario.is_rate)
        ]
        text = "Deliveries or connections a second, broker and load together on this machine."
        return section("Rate", text, ["", *self.brokers], rows)

    def rest(self):
        """Latency at a fixed rate, memory, and connections at rest."""
        rows = []
        for scenario in self.scenarios:
            figures = []
            if scenario.is_rate:
                figures = [("p50, µs", "p50_us"), ("p99, µs", "p99_us"), ("p99.9, µs", "p999_us")]
            if scenario.asks_retained:
                figures.append(("retained a second", "retained_per_second"))
            if scenario.shows_memory:
                figures = [("memory at the end, B", "resident")]
            if scenario.is_idle:
                figures = [("memory each, B", "resident_per_connection"), ("CPU, ms/s", "idle_cpu_ms")]
            title = scenario.title
            if scenario.is_idle:
                title = f"{self.pace.idle_connections:,} {title}"
            for label, figure in figures:
                cells = (plain(self.value(scenario, name, figure)) for name in self.brokers)
                rows.append([f"{title}: {label}", *cells])
        return section("Latency and rest", "", ["", *self.brokers], rows) if rows else ""

    def durable(self):
        """Messages for a client that is away."""
        if not self.kept:
            return ""
        rows = [
            [label, *(durable.shown(figures.get(key)) for figures in self.kept.values())]
            for label, key in durable.ROWS
        ]
        text = f"{self.pace.durable_messages:,} messages of {durable.PAYLOAD} bytes at QoS 1 for a"
        text += " session whose client is away, the broker stopped as the column says, started again,"
        text += " and drained (`countersign bench durable`). Countersign syncs before it"
        text += " acknowledges, and is killed; mosquitto writes when it is asked to stop."
        return section("Messages that wait on the disk", text, ["", *self.kept], rows)

    def notes(self):
        if not self.errors:
            return ""
        return "Without a figure:\n\n" + "".join(f"- {error}\n" for error in self.errors)

    def write(self, docs):
        """Replaces what was written before, and leaves what people wrote around it."""
        page = docs / "performance.md"
        text = page.read_text() if page.exists() else f"# Performance\n\n{BEGIN}\n{END}\n"
        before, _, rest = text.partition(BEGIN)
        _, _, after = rest.partition(END)
        figure = "![Cost and rate of each broker, relative to the floor](performance.svg)\n"
        page.write_text(f"{before}{BEGIN}\n\n{figure}\n{self.markdown()}\n{END}{after}")
        (docs / "performance.svg").write_text(plot.svg(self))


def medians(runs):
    """The median of each figure over the runs that have it."""
    good = [run for run in runs if "error" not in run]
    figures = {figure for run in good for figure in run}
    return {
        figure: statistics.median(run[figure] for run in good if figure in run)
        for figure in figures
    }


def section(title, text, columns, rows):
    lines = [f"### {title}", ""] + ([text, ""] if text else [])
    lines.append("| " + " | ".join(columns) + " |")
    lines.append("|---" + "|---:" * (len(columns) - 1) + "|")
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def ratio(value, other):
    return f"{value / other:.2f}" if value and other else "–"


def cpu(value):
    if value is None:
        return "–"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def rate(value):
    if value is None:
        return "–"
    if value >= 1e6:
        return f"{value / 1e6:.2f}M"
    return f"{value / 1e3:.0f}k" if value >= 1e4 else f"{value:,.0f}"


def plain(value):
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def short(figures):
    """One run on one line."""
    if "error" in figures:
        return figures["error"]
    if "resident_per_connection" in figures:
        each, idle = figures["resident_per_connection"], figures.get("idle_cpu_ms")
        return f"{plain(each)} B each, {plain(idle)} ms/s"
    p99 = figures.get("p99_us")
    return (
        f"{rate(figures.get('per_second')):>8}/s {cpu(figures.get('broker_cpu_us')):>8} s/M, "
        f"generator {cpu(figures.get('generator_cpu_us')):>8} s/M, p99 {plain(p99)} µs"
    )


def machine():
    model = platform.machine()
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    release = subprocess.run(["uname", "-sr"], capture_output=True, text=True, check=False)
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores of {model}, {release.stdout.strip()} (load {load:.1f})"
