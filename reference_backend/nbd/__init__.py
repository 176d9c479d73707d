"""The NBD protocol without I/O: bytes in, requests and bytes out."""
