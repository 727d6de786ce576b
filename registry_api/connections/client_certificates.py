"""Client certificates, told to the application as the ASGI TLS extension names them; uvicorn does not yet.

Source: ASGI specification, "TLS Extension". The system's TLS has verified the certificate against ENTREPOT_TLS_CLIENT_CA.
"""

import asyncio
import ssl
from typing import cast

from cryptography import x509

from registry_api.connections.connection import Connection


class CertifiedConnection(Connection):
    """A connection that puts the subject (RFC 4514) of its client's certificate into each request's scope."""

    _certificate_name = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Read the certificate once for all requests of the connection."""
        connection = cast("ssl.SSLObject | None", transport.get_extra_info("ssl_object"))
        certificate = connection.getpeercert(binary_form=True) if connection is not None else None
        if certificate:
            self._certificate_name = x509.load_der_x509_certificate(certificate).subject.rfc4514_string()
        super().connection_made(transport)

    def on_message_begin(self) -> None:
        """Begin a request's scope."""
        super().on_message_begin()
        if self._certificate_name:
            self.scope["extensions"] = {"tls": {"client_cert_name": self._certificate_name}}
