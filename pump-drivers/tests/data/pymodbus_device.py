"""A Modbus device by pymodbus 3.16: python pymodbus_device.py PORT socket|rtu. Registers n hold 1000 + n, but for the samples below."""

import asyncio
import sys

from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
from pymodbus.framer import FramerType
from pymodbus.server import StartAsyncTcpServer

PORT, FRAMER = int(sys.argv[1]), FramerType(sys.argv[2])


async def main():
    registers = [1000 + n for n in range(300)]
    # 98765 in all four orders, at 200, 202, 204 and 206
    registers[200:208] = [0x0001, 0x81CD, 0x81CD, 0x0001, 0x0100, 0xCD81, 0xCD81, 0x0100]
    bits = [n % 3 == 0 for n in range(40)]
    # a block counts from 1 where the wire counts from 0
    device = ModbusDeviceContext(
        di=ModbusSequentialDataBlock(1, list(bits)),
        co=ModbusSequentialDataBlock(1, list(bits)),
        ir=ModbusSequentialDataBlock(1, list(registers)),
        hr=ModbusSequentialDataBlock(1, list(registers)),
    )
    await StartAsyncTcpServer(
        ModbusServerContext(devices={9: device}, single=False), address=("127.0.0.1", PORT), framer=FRAMER
    )


asyncio.run(main())
