#!/usr/bin/env python3
"""A whole platform in one file: pays one order, books what comes of it, acknowledges every record and asks for those that are missing.

    pip install paho-mqtt cryptography          (Debian: python3-paho-mqtt python3-cryptography)
    client.py --host 127.0.0.1 --port 1883 --station st-demo --key platform.key --books books.db \
              --nozzle 3 --grade 92 --price-micros 7450000 --amount-minor 20000

    client.py --books books.db --export         writes the records that were booked, one a line, for verify.py

Exit code: 0 if fuel was sold, 1 if the order ended without fuel, 2 if no end came in time, 3 if the station did not take the order.
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
import time
import uuid

import paho.mqtt.client as mqtt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


# The station does not know the order then, and no record follows: mend what is wrong and send it under a new command id.
NEVER_TAKEN = {"malformed", "bad_signature", "wrong_station", "too_old", "from_the_future", "unsupported", "too_large", "conflict"}
# Records travel by importance, so a gap closes by itself most times.
GAP_PATIENCE_S = 10


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
            CREATE TABLE IF NOT EXISTS record
                (id TEXT PRIMARY KEY, sequence INT UNIQUE, type TEXT, prevhash TEXT, hash TEXT, event TEXT) STRICT;
            -- One order, one end: a second one would be a breach of the contract and must not be booked.
            CREATE TABLE IF NOT EXISTS order_end (order_id TEXT PRIMARY KEY, kind TEXT, volume_ml INT, amount_minor INT) STRICT;"""
        )

    def book(self, event):
        """True if the record is new. The same record again changes nothing: at least once is the rule of the link."""
        data, kind = event["data"], event["type"]
        with self.db:
            if self.db.execute("SELECT 1 FROM record WHERE id = ?", (event["id"],)).fetchone():
                return False
            row = (event["id"], int(event["sequence"]), kind, event["prevhash"], event["hash"], canonical(event).decode())
            self.db.execute("INSERT INTO record VALUES (?, ?, ?, ?, ?, ?)", row)
            if kind == "fuel.sale.v1" and data["order_id"] is not None:
                end = (data["order_id"], "sale", data["volume_ml"], data["amount_minor"])
                self.db.execute("INSERT INTO order_end VALUES (?, ?, ?, ?)", end)
            elif kind == "fuel.order.released.v1":
                self.db.execute("INSERT INTO order_end VALUES (?, ?, 0, 0)", (data["order_id"], data["reason"]))
        return True

    def fault_of(self, event):
        """What is wrong with a record's place in the chain; None if nothing is, or if its neighbours are not known yet."""
        proven = {name: value for name, value in event.items() if name != "hash"}
        if hashlib.sha256(canonical(proven)).hexdigest() != event["hash"]:
            return "the hash is not that of the content"
        sequence = int(event["sequence"])
        near = "SELECT sequence - ?, id, prevhash, hash FROM record WHERE sequence BETWEEN ? AND ?"
        for step, known, prevhash, last in self.db.execute(near, (sequence, sequence - 1, sequence + 1)):
            if step == 0 and (known, last) != (event["id"], event["hash"]):
                return "this sequence came with another content"
            if (step == -1 and last != event["prevhash"]) or (step == 1 and prevhash != event["hash"]):
                return "it does not follow the record before it"
        return "the first record has a record before it" if sequence == 1 and set(event["prevhash"]) != {"0"} else None

    def first_gap(self):
        """The first sequences between two records that are not here, and that the station did not leave out."""
        query = """SELECT sequence + 1, following - 1 FROM
            (SELECT sequence, hash, lead(sequence) OVER chain AS following, lead(prevhash) OVER chain AS after
             FROM record WINDOW chain AS (ORDER BY sequence))
            WHERE following > sequence + 1 AND after <> hash ORDER BY sequence LIMIT 1"""
        return self.db.execute(query).fetchone()

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
        self.asked, self.shown, self.refusal = None, {}, None
        name = args.client_id or f"platform-of-{args.station}"
        if hasattr(mqtt, "CallbackAPIVersion"):  # paho-mqtt 2
            self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION1, client_id=name, clean_session=False)
        else:
            self.client = mqtt.Client(client_id=name, clean_session=False)
        if args.ca:
            self.client.tls_set(ca_certs=args.ca, certfile=args.cert, keyfile=args.cert_key)
        self.client.on_connect, self.client.on_message = self.connected, self.heard

    def command(self, kind, data):
        """Signs and sends; gives the command's id, by which the station answers it exactly once."""
        command_id = str(uuid.uuid4())
        event = {
            "specversion": "1.0", "id": command_id, "source": "/platform", "type": kind, "time": now(),
            "subject": f"/stations/{self.args.station}", "data": data,
        }
        header = base64url(json.dumps({"alg": "EdDSA", "kid": self.args.kid}).encode())
        signed = header + b"." + base64url(canonical(event))
        self.client.publish(self.below + "cmd", signed + b"." + base64url(self.key.sign(signed)), qos=1)
        return command_id

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
        elif topic in ("state/station", f"state/nozzle/{self.args.nozzle}"):
            self.shown[topic] = content["data"]["online" if topic == "state/station" else "available"]
            # No money is taken for a nozzle that would refuse.
            if not self.asked and len(self.shown) == 2 and all(self.shown.values()):
                self.asked = self.pay()
        elif topic == "reply":
            data = content["data"]
            print(f"reply: {data['result']}: {data['detail']}", flush=True)
            if data["command_id"] == self.asked and data["result"] in NEVER_TAKEN:
                self.refusal = f"{data['result']} {data.get('at', '')}".strip()
                self.ended.set()
        elif topic == "progress" and content["data"]["order_id"] == self.order_id:
            print(f"order: {content['data']['state']}", flush=True)

    def pay(self):
        """The driver has paid. From here on the order has exactly one end, whatever fails."""
        args = self.args
        return self.command("fuel.order.authorise.v1", {
            "order_id": self.order_id, "nozzle": args.nozzle, "grade": args.grade, "currency": args.currency,
            "limit": {"amount_minor": args.amount_minor}, "unit_price_micros": args.price_micros,
            "expires_at": now(minutes=10), "lift_timeout_s": 120, "basis": "prepaid", "context": {"client": "python"},
        })

    def record(self, event):
        fault = self.books.fault_of(event)
        if fault:
            print(f"refused: {event['sequence']} {event['type']}: {fault}", flush=True)
            self.command("fuel.nack.v1", {"id": event["id"], "reason": fault})
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
        in_time, gap = False, None
        until = time.monotonic() + self.args.timeout_s
        while not in_time and time.monotonic() < until:
            in_time = self.ended.wait(min(GAP_PATIENCE_S, until - time.monotonic()))
            before, gap = gap, self.books.first_gap()
            if gap and gap == before:
                self.command("fuel.resend.v1", {"from_sequence": f"{gap[0]:012}", "to_sequence": f"{gap[1]:012}"})
        self.client.loop_stop()
        self.client.disconnect()
        if self.refusal:
            print(f"{self.order_id} was not taken: {self.refusal}", file=sys.stderr)
            return 3
        if not in_time:
            print(f"no end of {self.order_id} within {self.args.timeout_s} s: is the station online?", file=sys.stderr)
            return 2
        kind, volume, amount = self.books.end_of(self.order_id)
        print(f"end: {self.order_id} {kind} {volume} ml {amount} {self.args.currency} minor", flush=True)
        return 0 if kind == "sale" else 1


def main():
    read = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    read.add_argument("--host")
    read.add_argument("--port", type=int, default=8883)
    read.add_argument("--prefix", default="fuel/v1")
    read.add_argument("--station")
    read.add_argument("--key", help="file with the Ed25519 secret, base64url of 32 bytes")
    read.add_argument("--kid", default="platform-1", help="the key's name in the station's JWKS")
    read.add_argument("--client-id", help="at the broker; its session is kept between runs (default: platform-of-STATION)")
    read.add_argument("--books", default="books.db", help="SQLite file for the records")
    read.add_argument("--export", action="store_true", help="write the records of --books and do nothing else")
    read.add_argument("--nozzle", type=int)
    read.add_argument("--grade")
    read.add_argument("--price-micros", type=int)
    read.add_argument("--amount-minor", type=int)
    read.add_argument("--currency", default="CNY")
    read.add_argument("--timeout-s", type=float, default=600)
    read.add_argument("--ca", help="CA of the broker, for TLS")
    read.add_argument("--cert", help="client certificate, for TLS")
    read.add_argument("--cert-key", help="its key")
    args = read.parse_args()
    if args.export:
        for (event,) in Books(args.books).db.execute("SELECT event FROM record ORDER BY sequence"):
            print(event)
        return 0
    needed = ["host", "station", "key", "nozzle", "grade", "price_micros", "amount_minor"]
    missing = [f"--{name.replace('_', '-')}" for name in needed if getattr(args, name) is None]
    if missing:
        read.error(f"missing: {', '.join(missing)}")
    for name in ["key", "ca", "cert", "cert_key"]:
        path = getattr(args, name)
        if path and not os.path.exists(path):
            read.error(f"there is no file {path}: give the right one with --{name.replace('_', '-')}")
    return Platform(args).run()


if __name__ == "__main__":
    sys.exit(main())
