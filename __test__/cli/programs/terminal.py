"""Runs a program in a terminal of its own, as a terminal emulator does: python3 terminal.py PROGRAM ARGS...

Lines on the standard input are JSON: {"keys": TEXT}, {"size": [ROWS, COLUMNS]}, {"signal": NUMBER}. What the program shows goes
to the standard output. When it has ended, a line of JSON on the standard error says how, and whether the terminal echoes again.
"""
import fcntl
import json
import os
import pty
import select
import struct
import sys
import termios


def resize(master, rows, columns):
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


master, slave = pty.openpty()
resize(master, 24, 100)
child = os.fork()
if child == 0:
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for descriptor in range(3):
        os.dup2(slave, descriptor)
    os.closerange(3, 64)
    os.execvp(sys.argv[1], sys.argv[1:])

# This process keeps its end of the terminal open, so that its state can be looked at behind the end of the program.
status = None
pending = b""
while status is None:
    readable, _, _ = select.select([master, 0], [], [], 0.05)
    if master in readable:
        os.write(1, os.read(master, 65536))
    if 0 in readable:
        read = os.read(0, 65536)
        if not read:
            os.kill(child, 9)
        pending += read
        *lines, pending = pending.split(b"\n")
        for line in lines:
            command = json.loads(line)
            if "keys" in command:
                os.write(master, command["keys"].encode())
            if "size" in command:
                resize(master, *command["size"])
            if "signal" in command:
                os.kill(child, command["signal"])
    if master not in readable:
        ended, result = os.waitpid(child, os.WNOHANG)
        if ended:
            status = result
modes = termios.tcgetattr(slave)[3]
ended = {
    "code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
    "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
    "echoes": bool(modes & termios.ECHO and modes & termios.ICANON),
}
print(json.dumps(ended), file=sys.stderr)
