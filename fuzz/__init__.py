"""A structured fuzzer of the NBD protocol for the server and the client, without sockets."""
