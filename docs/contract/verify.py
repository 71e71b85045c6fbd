#!/usr/bin/env python3
"""Verifies the hash chain of a station's records: nothing changed, nothing left out, nothing put in.

    verify.py FILE...            one event a line, in any order, as often as you like; - for standard input

Exit code: 0 if all is well, 1 if the chain is broken (each fault on a line of its own), 2 if a file cannot be read.
"""

import hashlib
import json
import sys


def canonical(value):
    """RFC 8785 for what the contract allows: integers only, member names within the basic plane."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(event):
    return hashlib.sha256(canonical({name: value for name, value in event.items() if name != "hash"})).hexdigest()


def read(paths):
    for path in paths:
        with sys.stdin if path == "-" else open(path, encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield f"{path}:{number}", json.loads(line)


def verify(events):
    """The faults, in words, and how many records there are."""
    faults, links, ids, anchors = [], {}, {}, []
    for place, event in events:
        sequence, link = int(event["sequence"]), (event["prevhash"], event["hash"])
        if digest(event) != event["hash"]:
            faults.append(f"{place}: sequence {sequence} was changed: its hash is not that of its content")
            continue
        if links.setdefault(sequence, link) != link:
            faults.append(f"{place}: sequence {sequence} came with two contents")
        if ids.setdefault(event["id"], sequence) != sequence:
            faults.append(f"{place}: event {event['id']} stands at two sequences")
        if event["type"] == "fuel.anchor.v1":
            anchors.append((place, int(event["data"]["through_sequence"]), event["data"]["hash"]))
    last = None
    for sequence in sorted(links):
        prevhash, _ = links[sequence]
        follows = prevhash == (links[last][1] if last is not None else "0" * 64)
        if last is None and sequence != 1:
            print(f"the first record here is {sequence}: what came before it is not looked at")
        elif last is not None and sequence != last + 1 and follows:
            print(f"sequences {last + 1} to {sequence - 1} were left out by the station: its store was damaged")
        elif last is not None and sequence != last + 1:
            faults.append(f"sequences {last + 1} to {sequence - 1} are missing")
        elif not follows:
            faults.append(f"sequence {sequence} does not follow the record before it")
        last = sequence
    for place, through, anchored in anchors:
        if through in links and links[through][1] != anchored:
            faults.append(f"{place}: the anchor names another hash for sequence {through}")
    return faults, len(links)


def main():
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        sys.exit(__doc__)
    try:
        faults, count = verify(read(sys.argv[1:]))
    except (OSError, ValueError, KeyError) as why:
        print(f"not a file of records, one event a line: {why!r}", file=sys.stderr)
        return 2
    print("\n".join(faults + [f"{count} records, {len(faults) or 'no'} faults"]))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
