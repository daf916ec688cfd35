"""Receives webhooks: WEBHOOK_SECRET=whsec_… python webhook_receiver.py 8001, for the URL http://HOST:8001/."""

import base64
import hmac
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = base64.b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))
seen = set()  # keep it where a restart does not lose it


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        name, sent_at = self.headers["webhook-id"], self.headers["webhook-timestamp"]
        signature = base64.b64encode(hmac.digest(KEY, f"{name}.{sent_at}.".encode() + body, "sha256")).decode()
        given = self.headers["webhook-signature"].split()  # two, while the secret is being rotated
        is_genuine = any(hmac.compare_digest(f"v1,{signature}", each) for each in given)
        is_fresh = abs(time.time() - int(sent_at)) < 300  # nobody sends again what they have overheard
        if is_genuine and is_fresh and name not in seen:
            event = json.loads(body)
            print(event["type"], event["data"].get("task", event["data"]), flush=True)  # do something with it
            seen.add(name)  # it may come again
        self.send_response(204 if is_genuine and is_fresh else 401)
        self.end_headers()


ThreadingHTTPServer(("", int(sys.argv[1])), Receiver).serve_forever()
