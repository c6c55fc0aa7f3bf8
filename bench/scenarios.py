"""The loads of bench/compare: what is done, and how long."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Pace:
    """How long each run is, in seconds."""

    name: str
    runs: int
    warmup: float
    seconds: float
    idle_connections: int
    idle_seconds: float
    durable_messages: int
    # The same broker processes serve all loads, instead of new ones each.
    keeps_brokers: bool = False


FULL = Pace(
    "full", runs=5, warmup=0.5, seconds=2, idle_connections=10_000, idle_seconds=5,
    durable_messages=1_000_000,
)
QUICK = Pace(
    "quick", runs=1, warmup=0.4, seconds=1.2, idle_connections=1_000, idle_seconds=1.5,
    durable_messages=100_000,
    keeps_brokers=True,
)


@dataclass(frozen=True)
class Scenario:
    """A load, by the arguments of `countersign bench`."""

    name: str
    title: str
    command: str
    # What not every peer has: one that fails a load for lack of it is not asked for it again.
    needs: str = ""

    @property
    def is_idle(self):
        return self.command.startswith("idle")

    @property
    def is_connect(self):
        return self.command.startswith("connect")

    @property
    def is_rate(self):
        return self.command.startswith("rate")

    @property
    def shows_memory(self):
        return self.name.startswith("fanout-100") and "--subscribers 100 " in self.command

    @property
    def asks_retained(self):
        return "--retained" in self.command

    @property
    def has_cost(self):
        """Whether what the broker does is the messages that are counted, and no more."""
        return not (self.is_idle or self.asks_retained)

    def arguments(self, pace, broker):
        arguments = self.command.split()
        if self.is_idle:
            seconds = pace.idle_seconds
            arguments += ["--connections", str(pace.idle_connections)]
        else:
            seconds = pace.seconds
        if self.is_connect and broker == "rumqttd":
            # It takes the end of a connection that said DISCONNECT for the end of another one.
            arguments.append("--without-disconnect")
        return [*arguments, "--seconds", str(seconds), "--warmup", str(pace.warmup)]


HYBRID = "X25519MLKEM768"

SCENARIOS = [
    Scenario("connect", "full handshake + CONNECT", "connect"),
    Scenario("resume", "resumed handshake + CONNECT", "connect --resumed"),
    Scenario("connect-pq", "full, X25519MLKEM768", "connect --key-exchange hybrid", HYBRID),
    Scenario(
        "resume-pq", "resumed, X25519MLKEM768", "connect --resumed --key-exchange hybrid", HYBRID,
    ),
    Scenario("fanin-0-64", "fan-in 50→1, QoS 0, 64 B", "fanin --qos 0 --payload 64"),
    Scenario("fanin-0-1k", "fan-in 50→1, QoS 0, 1 KiB", "fanin --qos 0 --payload 1024"),
    Scenario("fanin-1-64", "fan-in 50→1, QoS 1, 64 B", "fanin --qos 1 --payload 64 --window 50"),
    Scenario("fanin-1-256", "fan-in 50→1, QoS 1, 256 B", "fanin --qos 1 --payload 256 --window 50"),
    Scenario("fanin-1-1k", "fan-in 50→1, QoS 1, 1 KiB", "fanin --qos 1 --payload 1024 --window 50"),
    Scenario("fanin-2-64", "fan-in 50→1, QoS 2, 64 B", "fanin --qos 2 --payload 64"),
    Scenario("unbatched", "one PUBLISH a record, QoS 1, 256 B", "unbatched --qos 1 --payload 256"),
    Scenario("fanout-100", "fan-out 1→100, QoS 1, 64 B", "fanout --subscribers 100 --qos 1"),
    Scenario(
        "fanout-100-stalled", "fan-out 1→100, QoS 1, 64 B, 1 more never reads",
        "fanout --subscribers 100 --qos 1 --stalled 1",
    ),
    Scenario("fanout-1000", "fan-out 1→1000, QoS 0, 64 B", "fanout --subscribers 1000 --qos 0"),
    Scenario("pair-200", "200 pairs, QoS 1, 256 B", "pair --pairs 200 --qos 1 --payload 256"),
    Scenario("rate-5000", "5,000 a second, QoS 1, 256 B", "rate --per-second 5000 --payload 256"),
    Scenario(
        "rate-retained", "5,000 a second, 10,000 retained asked for again and again",
        "rate --per-second 5000 --payload 256 --retained 10000",
    ),
    Scenario("idle", "idle connections", "idle"),
]
