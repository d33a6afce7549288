"""HTTPS as the flags say: certificate, key, its password, and the authorities that sign clients' certificates."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from api.settings import Tls


def context(tls: Tls) -> ssl.SSLContext:
    """A server's context.

    With a CA file a client may show a certificate, which then must be signed by one of these authorities.

    Raises:
        OSError, ssl.SSLError: a file can't be read, or key, certificate and password don't belong together.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    password = tls.password.value if tls.password else ""  # not None: that would ask on the terminal
    made.load_cert_chain(tls.certificate, tls.keyfile, password)
    if tls.ca_file is not None:
        made.load_verify_locations(tls.ca_file)
        made.verify_mode = ssl.CERT_OPTIONAL
    return made
