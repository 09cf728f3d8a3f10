#!/usr/bin/python3
"""etcd_history.py URL CA CERT KEY PREFIX: every value that etcd ever held under PREFIX, revision by revision from the first on, through its
JSON gateway. Prints `<count><tab><resource><tab><stored form>` for each, and for each --grep TEXT `<count><tab>holds<tab>TEXT`. Exit status 1
where a revision can't be read any more (it was compacted)."""
import argparse, base64, collections, http.client, json, ssl, sys, urllib.parse

p = argparse.ArgumentParser()
for name in ("url", "ca", "cert", "key", "prefix"):
    p.add_argument(name)
p.add_argument("--grep", action="append", default=[])
a = p.parse_args()

context = ssl.create_default_context(cafile=a.ca)
context.load_cert_chain(a.cert, a.key)
url = urllib.parse.urlsplit(a.url)
connection = http.client.HTTPSConnection(url.hostname, url.port, context=context, timeout=30)


def b64(data):
    return base64.b64encode(data).decode()


def ask(**members):
    start = a.prefix.encode()
    end = start[:-1] + bytes([start[-1] + 1])
    connection.request("POST", "/v3/kv/range", json.dumps({"key": b64(start), "range_end": b64(end), **members}))
    answer = json.loads(connection.getresponse().read())
    if "error" in answer:
        sys.exit(f"{members}: {answer['error']}")
    return answer


def form(value):
    if value.startswith(b"k8s:enc:"):
        return b":".join(value.split(b":", 5)[:5]).decode() + ":"
    return "plain"


last = int(ask(limit=1)["header"]["revision"])
forms = collections.Counter()
found = {text: 0 for text in a.grep}
for revision in range(1, last + 1):
    for kv in ask(revision=revision, min_mod_revision=revision, max_mod_revision=revision).get("kvs", []):
        value = base64.b64decode(kv["value"])
        forms[base64.b64decode(kv["key"]).decode().split("/")[2], form(value)] += 1
        for text in found:
            found[text] += text.encode() in value
for (resource, name), count in sorted(forms.items()):
    print(f"{count}\t{resource}\t{name}")
for text, count in found.items():
    print(f"{count}\tholds\t{text}")
