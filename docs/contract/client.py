#!/usr/bin/env python3
"""A whole platform in one file: pays one order, books what comes of it, acknowledges every record.

    pip install paho-mqtt cryptography          (Debian: python3-paho-mqtt python3-cryptography)
    client.py --host 127.0.0.1 --port 1883 --station st-demo --key platform.key --books books.db \
              --nozzle 3 --grade 92 --price-micros 7450000 --amount-minor 20000

Exit code: 0 if fuel was sold, 1 if the order ended without fuel, 2 if no end came in time.
"""

import argparse
import base64
import datetime
import hashlib
import json
import os
import sqlite3
import sys
import threading
import uuid

import paho.mqtt.client as mqtt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def canonical(value):
    """RFC 8785 for what the contract allows: integers only, member names within the basic plane."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def now(minutes=0):
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Books:
    """What the platform must keep. A record counts only once it is committed here."""

    def __init__(self, path):
        self.db = sqlite3.connect(path, check_same_thread=False)
        self.db.executescript(
            """PRAGMA synchronous = FULL;
            CREATE TABLE IF NOT EXISTS record (id TEXT PRIMARY KEY, sequence TEXT, type TEXT, hash TEXT, event TEXT) STRICT;
            -- One order, one end: a second one would be a breach of the contract and must not be booked.
            CREATE TABLE IF NOT EXISTS order_end (order_id TEXT PRIMARY KEY, kind TEXT, volume_ml INT, amount_minor INT) STRICT;"""
        )

    def book(self, event):
        """True if the record is new. The same record again changes nothing: at least once is the rule of the link."""
        data, kind = event["data"], event["type"]
        with self.db:
            row = (event["id"], event["sequence"], kind, event["hash"], json.dumps(event))
            if self.db.execute("INSERT OR IGNORE INTO record VALUES (?, ?, ?, ?, ?)", row).rowcount == 0:
                return False
            if kind == "fuel.sale.v1" and data["order_id"] is not None:
                end = (data["order_id"], "sale", data["volume_ml"], data["amount_minor"])
                self.db.execute("INSERT INTO order_end VALUES (?, ?, ?, ?)", end)
            elif kind == "fuel.order.released.v1":
                self.db.execute("INSERT INTO order_end VALUES (?, ?, 0, 0)", (data["order_id"], data["reason"]))
        return True

    def end_of(self, order_id):
        query = "SELECT kind, volume_ml, amount_minor FROM order_end WHERE order_id = ?"
        return self.db.execute(query, (order_id,)).fetchone()


class Platform:
    def __init__(self, args):
        self.args, self.books, self.ended = args, Books(args.books), threading.Event()
        with open(args.key, encoding="ascii") as file:
            secret = file.read().strip()
        self.key = Ed25519PrivateKey.from_private_bytes(base64.urlsafe_b64decode(secret + "=" * (-len(secret) % 4)))
        self.below = f"{args.prefix}/{args.station}/"
        self.order_id = f"py-{uuid.uuid4()}"
        self.asked = False
        name = f"platform-of-{args.station}"
        if hasattr(mqtt, "CallbackAPIVersion"):  # paho-mqtt 2
            self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION1, client_id=name, clean_session=False)
        else:
            self.client = mqtt.Client(client_id=name, clean_session=False)
        if args.ca:
            self.client.tls_set(ca_certs=args.ca, certfile=args.cert, keyfile=args.cert_key)
        self.client.on_connect, self.client.on_message = self.connected, self.heard

    def command(self, kind, data):
        """Signs and sends. The station answers each command exactly once, with its id."""
        event = {
            "specversion": "1.0", "id": str(uuid.uuid4()), "source": "/platform", "type": kind, "time": now(),
            "subject": f"/stations/{self.args.station}", "data": data,
        }
        header = base64url(json.dumps({"alg": "EdDSA", "kid": self.args.kid}).encode())
        signed = header + b"." + base64url(canonical(event))
        self.client.publish(self.below + "cmd", signed + b"." + base64url(self.key.sign(signed)), qos=1)

    def connected(self, client, _userdata, _flags, code):
        if code != 0:
            sys.exit(f"the broker refuses the connection: {mqtt.connack_string(code)}")
        for topic in ["state/#", "event", "progress", "reply", "live/#"]:
            client.subscribe(self.below + topic, qos=1)

    def heard(self, _client, _userdata, message):
        topic, content = message.topic[len(self.below):], json.loads(message.payload)
        if topic == "event":
            for event in content if isinstance(content, list) else [content]:
                self.record(event)
        elif topic == "state/station" and content["data"]["online"] and not self.asked:
            self.asked = True
            self.pay()
        elif topic == "reply":
            data = content["data"]
            print(f"reply: {data['result']}: {data['detail']}", flush=True)
        elif topic == "progress" and content["data"]["order_id"] == self.order_id:
            print(f"order: {content['data']['state']}", flush=True)

    def pay(self):
        """The driver has paid. From here on the order has exactly one end, whatever fails."""
        args = self.args
        self.command("fuel.order.authorise.v1", {
            "order_id": self.order_id, "nozzle": args.nozzle, "grade": args.grade, "currency": args.currency,
            "limit": {"amount_minor": args.amount_minor}, "unit_price_micros": args.price_micros,
            "expires_at": now(minutes=10), "lift_timeout_s": 120, "basis": "prepaid", "context": {"client": "python"},
        })

    def record(self, event):
        proven = {name: value for name, value in event.items() if name != "hash"}
        if hashlib.sha256(canonical(proven)).hexdigest() != event["hash"]:
            self.command("fuel.nack.v1", {"id": event["id"], "reason": "the hash is not that of the content"})
            return
        new = self.books.book(event)
        # Committed: only now may the station forget it. A repeat is acknowledged again, the first receipt may have been lost.
        self.command("fuel.ack.v1", {"ids": [event["id"]]})
        if new:
            print(f"booked: {event['sequence']} {event['type']}", flush=True)
        if self.books.end_of(self.order_id):
            self.ended.set()

    def run(self):
        self.client.connect(self.args.host, self.args.port, keepalive=20)
        self.client.loop_start()
        in_time = self.ended.wait(self.args.timeout_s)
        self.client.loop_stop()
        self.client.disconnect()
        if not in_time:
            print(f"no end of {self.order_id} within {self.args.timeout_s} s: is the station online?", file=sys.stderr)
            return 2
        kind, volume, amount = self.books.end_of(self.order_id)
        print(f"end: {self.order_id} {kind} {volume} ml {amount} {self.args.currency} minor", flush=True)
        return 0 if kind == "sale" else 1


def main():
    read = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    read.add_argument("--host", required=True)
    read.add_argument("--port", type=int, default=8883)
    read.add_argument("--prefix", default="fuel/v1")
    read.add_argument("--station", required=True)
    read.add_argument("--key", required=True, help="file with the Ed25519 secret, base64url of 32 bytes")
    read.add_argument("--kid", default="platform-1", help="the key's name in the station's JWKS")
    read.add_argument("--books", default="books.db", help="SQLite file for the records")
    read.add_argument("--nozzle", type=int, required=True)
    read.add_argument("--grade", required=True)
    read.add_argument("--price-micros", type=int, required=True)
    read.add_argument("--amount-minor", type=int, required=True)
    read.add_argument("--currency", default="CNY")
    read.add_argument("--timeout-s", type=float, default=600)
    read.add_argument("--ca", help="CA of the broker, for TLS")
    read.add_argument("--cert", help="client certificate, for TLS")
    read.add_argument("--cert-key", help="its key")
    args = read.parse_args()
    for name in ["key", "ca", "cert", "cert_key"]:
        path = getattr(args, name)
        if path and not os.path.exists(path):
            read.error(f"there is no file {path}: give the right one with --{name.replace('_', '-')}")
    return Platform(args).run()


if __name__ == "__main__":
    sys.exit(main())
