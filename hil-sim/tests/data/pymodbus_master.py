"""A Modbus master by pymodbus 3.16 that sells 20.00 at unit UNIT: pymodbus_master.py serial|rtu|socket PATH_OR_PORT UNIT.

Prints one JSON object: what it read, in the order of the Modbus sheet, section 9.5.
"""

import json
import sys
import time

from pymodbus.client import ModbusSerialClient, ModbusTcpClient
from pymodbus.framer import FramerType

HOW, WHERE, UNIT = sys.argv[1], sys.argv[2], int(sys.argv[3])

if HOW == "serial":
    master = ModbusSerialClient(WHERE, framer=FramerType.RTU, baudrate=9600, bytesize=8, parity="N", stopbits=1, timeout=5, retries=0)
else:
    master = ModbusTcpClient("127.0.0.1", port=int(WHERE), framer=FramerType(HOW), timeout=5, retries=0)
if not master.connect():
    sys.exit(f"no connection to {WHERE}")


def read(address, count):
    answer = master.read_holding_registers(address, count=count, device_id=UNIT)
    if answer.isError():
        sys.exit(f"reading {count} from {address}: {answer}")
    return answer.registers


def write(address, values):
    single = len(values) == 1
    if single:
        answer = master.write_register(address, values[0], device_id=UNIT)
    else:
        answer = master.write_registers(address, values, device_id=UNIT)
    if answer.isError():
        sys.exit(f"writing {values} to {address}: {answer}")


told = {"calling": read(0, 9)}
write(20, [2, 0, 2000, 0, 745])
told["preset"] = read(20, 5)
write(25, [1])
told["result"] = read(26, 1)
write(25, [0])
told["released"] = read(0, 1)
until = time.monotonic() + 60
while read(0, 1)[0] != 5 and time.monotonic() < until:
    time.sleep(0.1)
told["sale"] = read(0, 16)
write(15, [told["sale"][8]])
told["acknowledged"] = read(15, 1)
beyond = master.read_holding_registers(30000, count=1, device_id=UNIT)
told["beyond"] = beyond.exception_code
try:
    stranger = master.read_holding_registers(0, count=1, device_id=UNIT + 1)
    told["stranger"] = stranger.isError()
except Exception:
    told["stranger"] = True
print(json.dumps(told))
