"""A store with S3's interface on this machine, at the port of the first argument; it keeps its objects in memory.

A line "stop" ends the server, "start" starts it again with the same objects; the end of input ends the program.
"""

import sys

from moto.moto_server.threaded_moto_server import ThreadedMotoServer


def start() -> ThreadedMotoServer:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=int(sys.argv[1]), verbose=False)
    server.start()
    return server


server = start()
print("started", flush=True)
for line in sys.stdin:
    if line.strip() == "stop":
        server.stop()
    else:
        server = start()
    print(line.strip(), flush=True)
server.stop()
