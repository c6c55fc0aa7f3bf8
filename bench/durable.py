"""Messages for a client that is away: stored, the broker stopped, started again, and drained.

Ours is killed (SIGKILL) and has them all; mosquitto is asked to stop (SIGTERM), because only then it
writes them, and killed in one more round to see what is left.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time

from brokers import Kind

PAYLOAD = 256
ROWS = [
    ("acknowledged a second", "per_second"),
    ("broker CPU of one, µs", "broker_cpu_us"),
    ("memory of one that waits, B", "resident_per_message"),
    ("on disk, B each", "on_disk"),
    ("from start to listening, s", "start_seconds"),
    ("lost", "lost"),
    ("drained a second", "drained_per_second"),
    ("broker CPU of one drained, µs", "drain_cpu_us"),
]


def measure(stage, count, runs):
    """For each way to stop a broker its runs, each a dictionary of figures."""
    ways = [("Countersign, SIGKILL", "Countersign", stage.begin_countersign, signal.SIGKILL)]
    if stage.tools.mosquitto:
        begin = stage.begin_lasting_mosquitto
        ways += [
            ("mosquitto, SIGTERM", "mosquitto", begin, signal.SIGTERM),
            ("mosquitto, SIGKILL", "mosquitto", begin, signal.SIGKILL),
        ]
    found = {title: [] for title, *_ in ways}
    for title, name, begin, how in [way for _ in range(runs) for way in ways]:
        figures = run(stage, Kind(name, begin), how, count)
        found[title].append(figures)
        shown = ", ".join(f"{label} {figures[key]:,.4g}" for label, key in ROWS if key in figures)
        print(f"{'durable':<18} {title:<21} {shown}", file=sys.stderr)
    return found


def run(stage, kind, how, count):
    directory = stage.room(kind.name)
    with stage.start(kind, directory) as broker:
        figures = half(stage, broker, "store", count)
        os.kill(broker.pid, how)
        await_end(broker.pid)
    figures["on_disk"] = size(directory) / count
    began = time.monotonic()
    with stage.start(kind, directory) as broker:
        figures["start_seconds"] = time.monotonic() - began
        figures |= half(stage, broker, "drain", count)
    return figures


def half(stage, broker, name, count):
    command = [
        stage.tools.countersign, "bench", "durable", "--half", name, "--count", str(count),
        "--payload", str(PAYLOAD), "--broker", broker.address, "--pid", str(broker.pid),
        "--identities", stage.identities, "--runs", "1", "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return json.loads(done.stdout)["median"] | ({"lost": 0} if name == "drain" else {})
    lost = re.search(r"(\d+) were lost", done.stderr)
    if name == "drain" and lost:
        return {"lost": int(lost[1])}
    sys.exit(f"compare: {broker.kind.name}, durable {name}: {done.stderr.strip()}")


def shown(value):
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"


def await_end(pid):
    """What the process has to write may take it a while."""
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        time.sleep(0.01)


def size(directory):
    """What its files take on the disk."""
    files = (os.path.join(at, name) for at, _, names in os.walk(directory) for name in names)
    return sum(os.stat(file).st_blocks * 512 for file in files)
