"""A whole consumer: each record of each box once, in SQLite: python consumer.py HOST PORT CA CERT KEY FILE.

The file has the tables of `head-end.md`, so that its queries for holes, readings and times run on it.
"""
# ruff: noqa: INP001, D103

import json
import sqlite3
import sys
import zlib
from typing import Any

import cbor2
from paho.mqtt.client import CallbackAPIVersion, Client, MQTTMessage, MQTTv5, Properties
from paho.mqtt.packettypes import PacketTypes

HOST, PORT, CA, CERT, KEY, FILE = sys.argv[1:]
store = sqlite3.connect(FILE, isolation_level=None)
store.executescript("""PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS record (n INTEGER PRIMARY KEY AUTOINCREMENT, dcu TEXT NOT NULL, epoch TEXT NOT NULL,
    stream TEXT NOT NULL, id INTEGER NOT NULL, body TEXT NOT NULL, UNIQUE (dcu, epoch, stream, id));
CREATE TABLE IF NOT EXISTS layout (dcu TEXT, digest TEXT, columns TEXT, PRIMARY KEY (dcu, digest));""")
LAYOUT = "INSERT INTO layout VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
RECORD = "INSERT INTO record (dcu, epoch, stream, id, body) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"


def text(value: Any) -> str:
    return json.dumps(value, default=lambda octets: {"hex": octets.hex()}, allow_nan=False)


def keep(topic: str, octets: bytes, content_type: str) -> None:
    octets = zlib.decompress(octets) if content_type.endswith("+zlib") else octets
    batch = cbor2.loads(octets) if content_type.startswith("application/cbor") else json.loads(octets)
    dcu, epoch, stream = batch["dcu"], batch["epoch"], batch["stream"]
    if topic != f"dcu/v1/{dcu}/up/{stream}":
        raise ValueError("a box that speaks for another")
    with store:
        store.execute("BEGIN IMMEDIATE")
        for digest, columns in batch["layouts"].items():
            store.execute(LAYOUT, (dcu, digest.hex() if isinstance(digest, bytes) else digest, text(columns)))
        for n, record in enumerate(batch["records"], start=batch["first"]):
            if isinstance(record.get("layout"), bytes):
                record["layout"] = record["layout"].hex()
            store.execute(RECORD, (dcu, epoch, stream, n, text(record)))


def on_message(client: Client, _: object, message: MQTTMessage) -> None:
    try:
        keep(message.topic, message.payload, str(getattr(message.properties, "ContentType", "")))
    except (ValueError, KeyError, TypeError, AttributeError, zlib.error, cbor2.CBORError) as fault:
        print(f"{message.topic}: not a batch: {fault}", file=sys.stderr)  # it would come again for ever: acknowledged
    client.ack(message.mid, message.qos)  # only now: what a full disk or a kill stops comes again


client = Client(CallbackAPIVersion.VERSION2, client_id="hes-consumer", protocol=MQTTv5, manual_ack=True)
client.on_connect = lambda client, *_: client.subscribe("dcu/v1/+/up/+", qos=1)
client.on_message = on_message
client.tls_set(CA, CERT, KEY)
session = Properties(PacketTypes.CONNECT)
session.SessionExpiryInterval = 30 * 86_400  # the broker keeps for us while we are away
client.connect(HOST, int(PORT), clean_start=False, properties=session)
client.loop_forever()
