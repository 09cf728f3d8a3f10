"""etcd_forms.py DIR ADDRESS,... PREFIX: how many values under PREFIX have which form, at one revision. Prints no value.

One line a form: its count, a tab, the form: `k8s:enc:<provider>:<version>:<key>:`, or `plain`, or `other` (neither).
"""
import base64
import collections
import http.client
import json
import os
import re
import ssl
import sys

folder, addresses, prefix = sys.argv[1], sys.argv[2].split(","), sys.argv[3].encode()
context = ssl.create_default_context(cafile=os.path.join(folder, "pki/kube-ca.pem"))
context.load_cert_chain(os.path.join(folder, "pki/kube-node.pem"), os.path.join(folder, "pki/kube-node-key.pem"))


def connect():
    """The first member that answers"""
    error = None
    for address in addresses:
        try:
            connection = http.client.HTTPSConnection(address, 2379, context=context, timeout=10)
            connection.connect()
            return connection
        except OSError as found:
            error = found
    sys.exit(f"etcd-forms: no etcd member answers: {error}")


connection = connect()


def values():
    key, end, revision = prefix, prefix[:-1] + bytes([prefix[-1] + 1]), None
    while True:
        body = {"key": base64.b64encode(key).decode(), "range_end": base64.b64encode(end).decode(), "limit": 500}
        if revision:
            body["revision"] = revision
        connection.request("POST", "/v3/kv/range", body=json.dumps(body))
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            sys.exit(f"etcd-forms: {answer.status} {text.decode(errors='replace')}")
        page = json.loads(text)
        revision = page["header"]["revision"]
        for pair in page.get("kvs", []):
            yield base64.b64decode(pair.get("value", ""))
        if not page.get("more"):
            return
        key = base64.b64decode(page["kvs"][-1]["key"]) + b"\0"


def form(value):
    match = re.match(rb"k8s:enc:[a-z]+:v[0-9]+:[^:]*:", value)
    if match:
        return match.group().decode(errors="replace")
    return "plain" if value.startswith((b"k8s\0", b"{")) else "other"


for found, count in sorted(collections.Counter(form(value) for value in values()).items()):
    print(f"{count}\t{found}")
