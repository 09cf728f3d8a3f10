#!/usr/bin/python3
"""Admission webhooks for the flow test `stubborn`: webhook.py ADDRESS PORT CERTIFICATE KEY LOG

/deny refuses, /stamp counts up an annotation of the object; each call is a line of LOG: path, operation, namespace/name. Says `ready` when it listens."""
import base64
import http.server
import json
import ssl
import sys

ANNOTATION = "encrypt.test/stamps"


def review(path, request):
    if path == "/deny":
        return {"allowed": False, "status": {"message": "the vault is sealed by policy"}}
    annotations = (request["object"]["metadata"].get("annotations") or {})
    stamps = str(int(annotations.get(ANNOTATION, "0")) + 1)
    patch = [] if annotations else [{"op": "add", "path": "/metadata/annotations", "value": {}}]
    patch.append({"op": "add", "path": "/metadata/annotations/" + ANNOTATION.replace("/", "~1"), "value": stamps})
    return {"allowed": True, "patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(patch).encode()).decode()}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request = asked["request"]
        path = self.path.split("?")[0]
        with open(LOG, "a") as log:
            log.write(f"{path} {request['operation']} {request.get('namespace', '')}/{request['name']}\n")
        answer = {"apiVersion": asked["apiVersion"], "kind": asked["kind"], "response": {"uid": request["uid"], **review(path, request)}}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


address, port, certificate, key, LOG = sys.argv[1:]
open(LOG, "a").close()
server = http.server.ThreadingHTTPServer((address, int(port)), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
print("ready", flush=True)
server.serve_forever()
