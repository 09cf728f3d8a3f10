"""A keep-alive connection to one apiserver as kube-admin, and what fills secrets. Standard library only."""
import base64
import hashlib
import http.client
import json
import os
import re
import socket
import ssl


def tls_context(folder):
    """For the cluster of that folder; it knows the port of its apiservers, too."""
    context = ssl.create_default_context(cafile=os.path.join(folder, "pki/kube-ca.pem"))
    context.load_cert_chain(os.path.join(folder, "pki/kube-admin.pem"), os.path.join(folder, "pki/kube-admin-key.pem"))
    with open(os.path.join(folder, "kubeconfig-node1")) as file:
        context.port = int(re.search(r"server: .*:([0-9]+)", file.read()).group(1))
    return context


class Connection:
    """request() gives (status, body bytes); any failure of the connection is an OSError or http.client.HTTPException."""

    def __init__(self, context, address, port=None, timeout=10):
        self.make = lambda: http.client.HTTPSConnection(address, port or context.port, context=context, timeout=timeout)
        self.address = address
        self.http = None

    def close(self):
        if self.http:
            self.http.close()
        self.http = None

    def request(self, method, path, body=None, content_type="application/json"):
        if not self.http:
            self.http = self.make()
            self.http.connect()
            self.http.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            headers = {"Content-Type": content_type} if body is not None else {}
            self.http.request(method, path, body=json.dumps(body).encode() if body is not None else None, headers=headers)
            answer = self.http.getresponse()
            return answer.status, answer.read()
        except BaseException:
            self.close()
            raise


def bytes_for(name, size):
    """SIZE bytes that follow from the name."""
    return hashlib.shake_256(name.encode()).digest(size)


def encoded(value):
    return base64.b64encode(value).decode()
