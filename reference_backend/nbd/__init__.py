"""The NBD protocol without input or output: bytes in, requests and bytes out."""
