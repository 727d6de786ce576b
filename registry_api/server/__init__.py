"""The serving processes: sockets, TLS, start and stop, and several workers on one socket.

What they serve is `registry_api.app`.
Leans on `http` for connections and transports.
"""
