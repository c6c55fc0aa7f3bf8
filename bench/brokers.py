"""The brokers of bench/compare: how each is built, started, awaited and stopped.

Each gets the same certificates, demands one of every client, and listens on a free port of
127.0.0.1. Settings that would only hold it back are lifted.
"""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass

PEERS = ["mosquitto", "rumqttd", "FlashMQ"]
START_SECONDS_MAX = 30


@dataclass(frozen=True)
class Tools:
    """Programs; a peer that is not there is None."""

    countersign: str
    mosquitto: str | None
    rumqttd: str | None
    flashmq: str | None


def build(root, without):
    """Builds what is ours and rumqttd; finds the others."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", root / "target"))
    cargo(root, "--bin", "countersign", "--target-dir", target)
    rumqttd = None
    if "rumqttd" not in without:
        manifest = root / "bench/peers/rumqttd/Cargo.toml"
        cargo(root, "--manifest-path", manifest, "--target-dir", target / "peers")
        rumqttd = target / "peers/release/bench-rumqttd"
    mosquitto = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    flashmq = os.environ.get("FLASHMQ")
    return Tools(
        countersign=str(target / "release/countersign"),
        mosquitto=None if "mosquitto" in without else mosquitto,
        rumqttd=rumqttd and str(rumqttd),
        flashmq=None if "FlashMQ" in without else flashmq,
    )


def cargo(root, *arguments):
    command = ["cargo", "build", "--release", "--locked", "--quiet", *map(str, arguments)]
    subprocess.run(command, cwd=root, check=True)


@dataclass(frozen=True)
class Kind:
    """A sort of broker: its name, and how it is started with a directory of its own."""

    name: str
    begin: callable


@dataclass(frozen=True)
class Broker:
    """One that serves."""

    kind: Kind
    address: str
    pid: int


class Stage:
    """Certificates, and brokers that serve with them."""

    def __init__(self, tools, directory, devices):
        self.tools = tools
        self.directory = directory
        self.identities = str(directory / "identities")
        self.started = 0
        kinds = [
            (tools.countersign, "floor", self.begin_floor),
            (tools.countersign, "Countersign", self.begin_countersign),
            (tools.mosquitto, "mosquitto", self.begin_mosquitto),
            (tools.rumqttd, "rumqttd", self.begin_rumqttd),
            (tools.flashmq, "FlashMQ", self.begin_flashmq),
        ]
        self.kinds = [Kind(name, begin) for tool, name, begin in kinds if tool]
        with self.start(Kind("up", lambda _, log: self.make_certificates(devices, log))):
            pass

    def room(self, name):
        """A directory for one broker."""
        self.started += 1
        directory = self.directory / f"{self.started}-{name}"
        directory.mkdir()
        return directory

    @contextmanager
    def start(self, kind, directory=None):
        """A broker, until the end of the block; with what an earlier one left in the directory."""
        directory = directory or self.room(kind.name)
        with open(directory / "log", "ab") as log:
            process, address = kind.begin(directory, log)
        try:
            wait_until_it_listens(process, address, kind.name, directory / "log")
            yield Broker(kind, address, process.pid)
        finally:
            stop(process)

    def file(self, name):
        return f"{self.identities}/{name}"

    def begin_floor(self, _directory, log):
        command = ["bench", "floor", "--identities", self.identities]
        return self.begin_ours(command, log)

    def make_certificates(self, devices, log):
        command = ["up", "--dir", self.identities, "--devices", str(devices)]
        return self.begin_ours([*command, "--listen", "127.0.0.1:0", "--json"], log)

    def begin_countersign(self, directory, log):
        """As `countersign up` configures it, with a data directory of its own."""
        text = pathlib.Path(self.file("broker.toml")).read_text()
        files = ("broker/cert.pem", "broker/key.pem", "broker/ca.pem", "broker/crl", "policy.toml")
        for name in files:
            text = text.replace(f'"{name}"', f'"{self.file(name)}"')
        text = text.replace('"broker/admin.sock"', '"admin.sock"')
        text = text.replace("127.0.0.1:8883", "127.0.0.1:0")
        text = text.replace("#queue_len_max = 10000", "queue_len_max = 10000000")
        text = text.replace('#queue_bytes_max = "16 MiB"', 'queue_bytes_max = "16 GiB"')
        path = write(directory / "broker.toml", text)
        return self.begin_ours(["broker", "run", "--config", path, "--json"], log)

    def begin_ours(self, command, log):
        """Ours say where they listen, in a line of JSON."""
        command = [self.tools.countersign, *command]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
        line = process.stdout.readline()
        if not line:
            sys.exit(f"compare: {' '.join(command)} said nothing; see {log.name}")
        return process, json.loads(line)["listening"]

    def begin_mosquitto(self, directory, log, persistence="persistence false"):
        port = free_port()
        config = f"""
            listener {port} 127.0.0.1
            cafile {self.file("ca.pem")}
            certfile {self.file("broker/cert.pem")}
            keyfile {self.file("broker/key.pem")}
            require_certificate true
            tls_version tlsv1.3
            allow_anonymous true
            {persistence}
            max_inflight_messages 0
            max_queued_messages 0
            set_tcp_nodelay true
            log_type error
            """
        if os.geteuid() == 0:
            config += "user root\n"
        path = write(directory / "mosquitto.conf", config)
        return begin([self.tools.mosquitto, "-c", path], log), f"127.0.0.1:{port}"

    def begin_lasting_mosquitto(self, directory, log):
        """It saves when it is asked to stop, and every half hour."""
        return self.begin_mosquitto(
            directory, log, f"persistence true\npersistence_location {directory}/"
        )

    def begin_rumqttd(self, _directory, log):
        address = f"127.0.0.1:{free_port()}"
        files = [self.file(name) for name in ("ca.pem", "broker/cert.pem", "broker/key.pem")]
        return begin([self.tools.rumqttd, address, *files], log), address

    def begin_flashmq(self, directory, log):
        port = free_port()
        config = f"""
            listen {{
              protocol mqtt
              port {port}
              inet_protocol ip4
              inet4_bind_address 127.0.0.1
              fullchain {self.file("broker/cert.pem")}
              privkey {self.file("broker/key.pem")}
              client_verification_ca_file {self.file("ca.pem")}
              minimum_tls_version tlsv1.3
              tcp_nodelay true
            }}
            allow_anonymous true
            log_level error
            log_file {directory / "flashmq.log"}
            max_qos_msg_pending_per_client 65535
            max_qos_bytes_pending_per_client 67108864
            client_max_write_buffer_size 67108864
            """
        path = write(directory / "flashmq.conf", config)
        return begin([self.tools.flashmq, "-c", path], log), f"127.0.0.1:{port}"

    def versions(self):
        """What was measured, as each says it of itself."""
        commit = said(["git", "-C", pathlib.Path(__file__).parent, "describe", "--always", "--dirty"])
        found = {"Countersign": f"{said([self.tools.countersign, '--version'])} ({commit})"}
        if self.tools.mosquitto:
            found["mosquitto"] = f"{said([self.tools.mosquitto, '-h'])}, {said(['openssl', 'version'])}"
        if self.tools.rumqttd:
            found["rumqttd"] = "rumqttd 0.20.0, rustls 0.22"
        if self.tools.flashmq:
            found["FlashMQ"] = said([self.tools.flashmq, "--version"])
        return found


def begin(command, log):
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def wait_until_it_listens(process, address, name, log):
    host, _, port = address.rpartition(":")
    give_up = time.monotonic() + START_SECONDS_MAX
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            return
        except OSError as error:
            if process.poll() is not None or time.monotonic() > give_up:
                tail = pathlib.Path(log).read_text(errors="replace")[-2000:]
                sys.exit(f"compare: {name} does not listen on {address}: {error}\n{tail}")
            time.sleep(0.05)


def stop(process):
    """By its process id; what does not stop when it is asked is killed."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout:
        process.stdout.close()


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def write(path, text):
    path.write_text("\n".join(line.strip() for line in text.strip().splitlines()) + "\n")
    return str(path)


def said(command):
    """The first line a program prints."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[0] if lines else "?"
