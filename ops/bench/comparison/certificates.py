"""An authority and one certificate for 127.0.0.1, for servers and for clients, by openssl."""

import shutil

from .errors import Missing
from .processes import run

EXTENSIONS = ("subjectAltName=IP:127.0.0.1,DNS:localhost", "extendedKeyUsage=serverAuth,clientAuth")


def make(dir):
    """Writes ca.pem, both.pem and both.key there."""
    if shutil.which("openssl") is None:
        raise Missing("openssl is not installed")
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    ca, key = dir / "ca.pem", dir / "ca.key"
    run([*new, "-subj", "/CN=bench", "-keyout", key, "-out", ca, "-addext", "keyUsage=keyCertSign"], 30)
    signed = [*new, "-subj", "/CN=localhost", "-CA", ca, "-CAkey", key, "-addext", "basicConstraints=critical,CA:FALSE"]
    for extension in EXTENSIONS:
        signed += ["-addext", extension]
    run([*signed, "-keyout", dir / "both.key", "-out", dir / "both.pem"], 30)
