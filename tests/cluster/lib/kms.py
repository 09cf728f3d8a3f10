"""kms.py MODE SOCKET KEYS PIDFILE: a KMS plugin for kube-apiserver, v1beta1 and v2, on a Unix socket (`@name`: in the abstract namespace).

MODE: good; refuse (says its version, fails each Encrypt and Decrypt); mute (takes connections, never answers);
dead (leaves a socket that nobody listens on, and ends). KEYS is the remote key: a JSON list of keys in hexadecimal, read at each call.
The newest encrypts; a ciphertext says which one it was: "kmsN:", nonce, AES-GCM. PIDFILE is there once it listens.
"""
import json
import os
import socket
import sys
from concurrent import futures

mode, path, keys_file, pid_file = sys.argv[1:5]


def keys():
    with open(keys_file, encoding="ascii") as file:
        return [bytes.fromhex(key) for key in json.load(file)]


def seal(plain):
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    all_keys = keys()
    nonce = os.urandom(12)
    return b"kms%d:" % len(all_keys) + nonce + AESGCM(all_keys[-1]).encrypt(nonce, plain, None)


def unseal(cipher):
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    version, _, rest = cipher.partition(b":")
    number = int(version.removeprefix(b"kms"))
    return AESGCM(keys()[number - 1]).decrypt(rest[:12], rest[12:], None)


# Protobuf, as far as these messages need it: fields of bytes and texts.

def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def message(**fields):
    """f1=..., f2=...: the fields by their numbers."""
    out = b""
    for name, value in fields.items():
        value = value.encode() if isinstance(value, str) else value
        out += varint(int(name[1:]) << 3 | 2) + varint(len(value)) + value
    return out


def fields_of(data):
    out, at = {}, 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        tag = number()
        if tag & 7 != 2:
            raise ValueError("a field that is neither text nor bytes")
        length = number()
        out[tag >> 3] = data[at:at + length]
        at += length
    return out


def version_v1(_request):
    return message(f1="v1beta1", f2="encrypt-testbed", f3="1.0")


def encrypt_v1(request):
    return message(f1=seal(fields_of(request).get(2, b"")))


def decrypt_v1(request):
    return message(f1=unseal(fields_of(request).get(2, b"")))


def key_id():
    return "key-%d" % len(keys())


def status_v2(_request):
    return message(f1="v2", f2="ok", f3=key_id())


def encrypt_v2(request):
    return message(f1=seal(fields_of(request).get(1, b"")), f2=key_id())


def decrypt_v2(request):
    return message(f1=unseal(fields_of(request).get(1, b"")))


def serve():
    import grpc

    def handler(function, fails):
        def call(request, context):
            if fails and mode == "refuse":
                context.abort(grpc.StatusCode.PERMISSION_DENIED, "the remote key is disabled")
            try:
                return function(request)
            except Exception as failure:  # pylint: disable=broad-except
                context.abort(grpc.StatusCode.INTERNAL, type(failure).__name__)
        return grpc.unary_unary_rpc_method_handler(call)

    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
    server.add_generic_rpc_handlers((
        grpc.method_handlers_generic_handler("v1beta1.KeyManagementService", {
            "Version": handler(version_v1, False), "Encrypt": handler(encrypt_v1, True), "Decrypt": handler(decrypt_v1, True)}),
        grpc.method_handlers_generic_handler("v2.KeyManagementService", {
            "Status": handler(status_v2, False), "Encrypt": handler(encrypt_v2, True), "Decrypt": handler(decrypt_v2, True)}),
    ))
    server.add_insecure_port("unix-abstract:" + path[1:] if path.startswith("@") else "unix:" + path)
    server.start()
    return server


os.umask(0o117)
record = None
if mode in ("good", "refuse"):
    record = serve()
elif mode in ("mute", "dead"):
    record = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    record.bind("\0" + path[1:] if path.startswith("@") else path)
    if mode == "mute":
        record.listen(128)
else:
    sys.exit("no such mode: " + mode)
with open(pid_file + ".new", "w", encoding="ascii") as out:
    out.write(str(os.getpid()))
os.replace(pid_file + ".new", pid_file)
if mode == "dead":
    sys.exit(0)
if mode == "mute":
    taken = []
    while True:
        taken.append(record.accept()[0])
record.wait_for_termination()
