"""Web Push as the user agent and the push service see it, by other people's code: http_ece (RFC 8188,
RFC 8291) and PyJWT (RFC 8292). Listens on the address and port given, and answers each request, a line
of JSON, with another. It ends with its one connection."""

import base64
import json
import os
import socket
import sys

import http_ece
import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding, NoEncryption, PrivateFormat, PublicFormat)

CURVE = ec.SECP256R1()


def encode(data):
    return base64.b64encode(data).decode()


def decode(text):
    return base64.b64decode(text, validate=True)


def raw_public(key):
    return encode(key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))


def keys():
    """Key material of a client: that of the device, and that of its push service."""
    device, service = ec.generate_private_key(CURVE), ec.generate_private_key(CURVE)
    return {
        "ua_private": encode(device.private_numbers().private_value.to_bytes(32, "big")),
        "ua_public": raw_public(device),
        "auth_secret": encode(os.urandom(16)),
        "jwt_key": encode(service.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())),
        "jwt_public": raw_public(service),
    }


def decrypt(ua_private, auth_secret, payload):
    private = ec.derive_private_key(int.from_bytes(decode(ua_private), "big"), CURVE)
    text = http_ece.decrypt(
        decode(payload), private_key=private, auth_secret=decode(auth_secret), version="aes128gcm")
    return {"text": text.decode("utf-8", "strict")}


def verify(token, key, audience):
    """The signature, the audience and the time; the result is what the token says."""
    public = ec.EllipticCurvePublicKey.from_encoded_point(CURVE, decode(key))
    claims = jwt.decode(token, public, algorithms=["ES256"], audience=audience, options={"require": ["exp"]})
    return {"claims": claims, "header": jwt.get_unverified_header(token)}


def answer(name, arguments):
    try:
        return {"keys": keys, "decrypt": decrypt, "verify": verify}[name](**arguments)
    except Exception as error:  # pylint: disable=broad-except # whatever it is, the spec is to say
        return {"error": f"{type(error).__name__}: {error}"}


def main(address, port):
    with socket.create_server((address, int(port))) as listener:
        connection, _ = listener.accept()
    with connection, connection.makefile("rw", encoding="utf-8", newline="\n") as lines:
        for line in lines:
            print(json.dumps(answer(*json.loads(line)), ensure_ascii=False), file=lines, flush=True)


main(*sys.argv[1:])
