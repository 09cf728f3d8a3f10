"""data.py DIR ADDRESS,... fill COUNT SIZE [configmaps] | check: secrets, or configmaps, whose content follows from their names, made and
checked through the API.

DIR/fill.json says what was made: a list of [first, count, size, resource]. `check` compares every object, through every apiserver.
"""
import base64
import http.client
import json
import os
import sys
import threading
import time

import kube

NAMESPACES = [f"fill-{i}" for i in range(5)]
WRITERS = 12

folder, addresses, command = sys.argv[1], sys.argv[2].split(","), sys.argv[3]
record = os.path.join(folder, "fill.json")
context = kube.tls_context(folder)


def where(number, resource):
    return NAMESPACES[number % len(NAMESPACES)], f"{resource[:-1]}-{number:06d}"


def content(number, size, resource):
    """Two or three members: most of the size in one, a small one, and now and then an empty one."""
    name = "/".join(where(number, resource))
    data = {"password": kube.bytes_for(name + "/password", 24), "blob": kube.bytes_for(name + "/blob", max(0, size - 24))}
    if number % 10 == 0:
        data["empty"] = b""
    return data


def body(number, size, resource):
    """The object. A configmap's bytes are `binaryData`."""
    secret = resource == "secrets"
    made = {"apiVersion": "v1", "kind": "Secret" if secret else "ConfigMap",
            "metadata": {"name": where(number, resource)[1], "labels": {"made-by": "fill"}},
            "data" if secret else "binaryData": {key: kube.encoded(value) for key, value in content(number, size, resource).items()}}
    return {**made, "type": "Opaque"} if secret else made


def made():
    try:
        with open(record, encoding="ascii") as file:
            return json.load(file)
    except FileNotFoundError:
        return []


def create(connection, path, body):
    for attempt in range(20):
        status, answer = connection.request("POST", path, body)
        if status in (201, 409):
            return
        if status not in (429, 503):
            break
        time.sleep(0.1 * (attempt + 1))
    sys.exit(f"fill: POST {path} through {connection.address}: {status} {answer.decode(errors='replace')}")


def fill(count, size, resource):
    runs = made()
    first = sum(run[1] for run in runs)
    # Written down before: a fill that was cut short shows as missing secrets.
    with open(record + ".new", "w", encoding="ascii") as file:
        json.dump(runs + [[first, count, size, resource]], file)
    os.replace(record + ".new", record)
    connection = kube.Connection(context, addresses[0])
    for namespace in NAMESPACES:
        create(connection, "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    numbers, lock, failed = iter(range(first, first + count)), threading.Lock(), []

    def work(address):
        try:
            connection = kube.Connection(context, address, timeout=30)
            while not failed:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                create(connection, f"/api/v1/namespaces/{where(number, resource)[0]}/{resource}", body(number, size, resource))
        except BaseException as error:  # also SystemExit: main prints it
            failed.append(error)

    started = time.monotonic()
    threads = [threading.Thread(target=work, args=(addresses[i % len(addresses)],)) for i in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        sys.exit(f"fill: {failed[0]}")
    print(f"{count} {resource} of {size} bytes in {time.monotonic() - started:.1f} s", file=sys.stderr)


def check(resource):
    expected = {where(number, resource): content(number, size, resource)
                for first, count, size, kind in made() if kind == resource for number in range(first, first + count)}
    problems, member = [], "data" if resource == "secrets" else "binaryData"
    for address in addresses:
        connection = kube.Connection(context, address, timeout=30)
        seen = 0
        for namespace in NAMESPACES:
            wanted = {name: data for (space, name), data in expected.items() if space == namespace}
            try:
                items = list(listed(connection, namespace, resource))
            except (OSError, ValueError, http.client.HTTPException) as error:
                problems.append(f"{address}: {resource} of {namespace} can't be listed: {error}")
                continue
            for item in items:
                name = item["metadata"]["name"]
                data = wanted.pop(name, None)
                if data is None:
                    problems.append(f"{address}: {namespace}/{name} was not made by fill")
                elif {key: base64.b64decode(value) for key, value in (item.get(member) or {}).items()} != data:
                    problems.append(f"{address}: {namespace}/{name} has other data than was written")
                else:
                    seen += 1
            problems += [f"{address}: {namespace}/{name} is missing" for name in wanted]
        print(f"{address}: {seen} of {len(expected)} {resource} as written")
    return problems


def listed(connection, namespace, resource):
    more = ""
    while True:
        status, answer = connection.request("GET", f"/api/v1/namespaces/{namespace}/{resource}?limit=500{more}")
        if status != 200:
            raise ValueError(f"{status} {answer.decode(errors='replace').strip()}")
        page = json.loads(answer)
        yield from page.get("items") or []
        if not page["metadata"].get("continue"):
            return
        more = "&continue=" + page["metadata"]["continue"]


if command == "fill":
    fill(int(sys.argv[4]), int(sys.argv[5]), sys.argv[6] if len(sys.argv) > 6 else "secrets")
else:
    found = [problem for resource in sorted({run[3] for run in made()}) for problem in check(resource)]
    for line in found:
        print(line)
    sys.exit(1 if found else 0)
