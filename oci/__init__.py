"""The vocabulary of OCI content and the wire that carries it; this package imports no other room."""
