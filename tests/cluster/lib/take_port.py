"""take_port.py PORT FILE: waits until PORT is free, takes it and closes every connection. FILE.pid tells its process, FILE that it has it."""
import os
import socket
import sys
import time

port, file = int(sys.argv[1]), sys.argv[2]
with open(file + ".new", "w", encoding="ascii") as out:
    out.write(str(os.getpid()))
os.replace(file + ".new", file + ".pid")
while True:
    server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind(("0.0.0.0", port))
        server.listen(128)
        break
    except OSError:
        server.close()
        time.sleep(0.002)
with open(file, "w", encoding="ascii"):
    pass
while True:
    server.accept()[0].close()
