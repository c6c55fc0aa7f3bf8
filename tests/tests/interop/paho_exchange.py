"""Publishes as dev-1 and listens as app-1, at every QoS in both versions, with properties and a
retained message, a will, and a request with its response in 5.0.

    paho_exchange.py DIR PORT
"""

import sys
import threading
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

SECONDS_MAX = 20
DIRECTORY, PORT = Path(sys.argv[1]), int(sys.argv[2])


class Client:
    """A client with an identity, whose messages can be waited for."""

    def __init__(self, identity, protocol, will=None):
        self.messages = []
        self.changed = threading.Condition()
        self.acknowledged = set()
        self.connected = threading.Event()
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id=identity.name, protocol=protocol
        )
        self.client.tls_set(identity / "ca.pem", identity / "cert.pem", identity / "key.pem")
        self.client.on_connect = lambda *_: self.connected.set()
        self.client.on_message = lambda _client, _data, message: self.note(self.messages.append, message)
        self.client.on_subscribe = lambda _client, _data, mid, *_: self.note(self.acknowledged.add, mid)
        if will:
            self.client.will_set(*will)
        self.client.connect("127.0.0.1", PORT)
        self.client.loop_start()
        assert self.connected.wait(SECONDS_MAX), "no CONNACK"

    def note(self, where, what):
        with self.changed:
            where(what)
            self.changed.notify_all()

    def wait(self, condition):
        with self.changed:
            assert self.changed.wait_for(condition, SECONDS_MAX), self.messages

    def subscribe(self, *what, **options):
        _, mid = self.client.subscribe(*what, **options)
        self.wait(lambda: mid in self.acknowledged)

    def message(self, topic):
        found = lambda: [message for message in self.messages if message.topic == topic]
        self.wait(found)
        return found()[0]

    def publish(self, *what, **more):
        self.client.publish(*what, **more).wait_for_publish(SECONDS_MAX)

    def stop(self):
        self.client.disconnect()
        self.client.loop_stop()

    def vanish(self):
        """Ends without a DISCONNECT."""
        self.client.loop_stop()
        self.client.socket().close()


def exchange(protocol):
    name = f"v{protocol}"
    app = Client(DIRECTORY / "apps/app-1", protocol)
    app.subscribe("devices/+/#", 2)
    will = (f"devices/dev-1/{name}/will", b"gone", 1, False)
    device = Client(DIRECTORY / "devices/dev-1", protocol, will)
    for qos in (0, 1, 2):
        topic = f"devices/dev-1/{name}/{qos}"
        device.publish(topic, b"21.5", qos)
        message = app.message(topic)
        assert (message.payload, message.qos) == (b"21.5", qos), message
    device.publish(f"devices/dev-1/{name}/kept", b"last", 1, retain=True)
    app.message(f"devices/dev-1/{name}/kept")
    late = Client(DIRECTORY / "devices/dev-1", protocol)
    late.subscribe(f"devices/dev-1/{name}/kept", 1)
    assert late.message(f"devices/dev-1/{name}/kept").retain
    # The same client id: `late` took the session over, which ends `device` and sends its will.
    assert app.message(f"devices/dev-1/{name}/will").payload == b"gone"
    device.client.loop_stop()
    late.stop()
    app.stop()


def ask():
    """Request and response of 5.0 (§4.10)."""
    device = Client(DIRECTORY / "devices/dev-2", mqtt.MQTTv5)
    device.subscribe("devices/dev-2/commands/#", options=SubscribeOptions(qos=1))
    app = Client(DIRECTORY / "apps/app-1", mqtt.MQTTv5)
    app.subscribe("devices/dev-2/answers", options=SubscribeOptions(qos=1))
    properties = Properties(PacketTypes.PUBLISH)
    properties.ResponseTopic = "devices/dev-2/answers"
    properties.CorrelationData = b"42"
    properties.UserProperty = [("b", "1"), ("a", "2"), ("b", "3")]
    app.publish("devices/dev-2/commands/read", b"?", 1, properties=properties)
    asked = device.message("devices/dev-2/commands/read").properties
    assert asked.UserProperty == [("b", "1"), ("a", "2"), ("b", "3")], asked
    answer = Properties(PacketTypes.PUBLISH)
    answer.CorrelationData = asked.CorrelationData
    device.publish(asked.ResponseTopic, b"!", 1, properties=answer)
    assert app.message("devices/dev-2/answers").properties.CorrelationData == b"42"
    device.stop()
    app.stop()


exchange(mqtt.MQTTv311)
exchange(mqtt.MQTTv5)
ask()
