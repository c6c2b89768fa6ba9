"""Run one command for as long as the process that asked for it lives: `python guard.py FOLDER COMMAND…`.

Each line on standard input is a signal's number, passed on to the command. When standard input closes, the parent is
gone (however it went: a kill leaves it no time to clean up) or done: the command is killed and FOLDER removed. When
the command ends by itself, so does the guard, with its exit code; FOLDER stays. Imports nothing of ours: it runs alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading


def main() -> None:
    folder, *command = sys.argv[1:]
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    parent_is_gone = threading.Event()

    def obey() -> None:
        for line in sys.stdin:
            child.send_signal(int(line))
        parent_is_gone.set()
        child.kill()

    threading.Thread(target=obey, daemon=True).start()
    exit_code = child.wait()
    if parent_is_gone.is_set():
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(exit_code & 0xFF)  # the thread may still be reading


if __name__ == "__main__":
    main()
