#!/usr/bin/env python3
"""Submits a job description to actd, waits by events, lists the results. Standard library only; one JSON value a line."""
import json
import os
import socket
import sys
import uuid

runtime = os.environ.get("XDG_RUNTIME_DIR")
path = f"{runtime}/actd/default.sock" if runtime else f"/tmp/actd-{os.getuid()}/default.sock"


class Actd:
    def __init__(self, path):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(path)
        self.file = sock.makefile("rw", encoding="utf-8", newline="\n")
        self.last, self.events = 0, []
        self.call("daemon.hello", client="jobs.py", protocol=1)

    def call(self, method, **params):
        """Calls a method by name; events that arrive meanwhile are kept."""
        self.last += 1
        request = {"jsonrpc": "2.0", "id": self.last, "method": method, "params": params}
        self.file.write(json.dumps(request) + "\n")
        self.file.flush()
        while True:
            message = self.read()
            if message.get("id") == self.last:
                if "error" in message:
                    hint = message["error"]["data"].get("hint")
                    sys.exit(f"{method}: {message['error']['message']}" + (f" ({hint})" if hint else ""))
                return message["result"]
            self.events.append(message["params"]["result"])

    def read(self):
        line = self.file.readline()
        if not line:
            sys.exit("the daemon has gone")
        return json.loads(line)

    def event(self):
        return self.events.pop(0) if self.events else self.read()["params"]["result"]


def ended(job):
    return job["phase"] in ("stored", "closed") or job["arcstate"] in ("failed", "donefailed", "cancelled", "lost")


actd = Actd(path)
file = os.path.abspath(sys.argv[1])
# Before the submission, so that no event is missed.
actd.call("events.subscribe", types=["job"])
reply = actd.call(
    "jobs.submit",
    descriptions=[{"text": open(file).read(), "path": file, "base_dir": os.path.dirname(file)}],
    client_ref=str(uuid.uuid4()),  # with the same one it could be called again if the answer were lost
)
for item in reply["items"]:
    if item["error"]:
        sys.exit(f"not submitted: {item['error']}")
waiting = {item["key"] for item in reply["items"]}
while waiting:
    event = actd.event()
    if event["type"] == "end":
        sys.exit(event["text"])
    if event["key"] in waiting and event["after"] and ended(event["after"]):
        waiting.discard(event["key"])
good = True
for job in actd.call("jobs.list", filter={"select": [i["key"] for i in reply["items"]]}, closed=True)["items"]:
    good = good and job["arcstate"] == "done"
    print(job["key"], job["name"], job["arcstate"])
    if job["results"]:
        for entry in actd.call("jobs.files", job=job["key"])["files"]:
            print(f"  {entry['path']} {entry['size']}")
sys.exit(0 if good else 1)
