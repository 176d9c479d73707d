"""A structured fuzzer of the NBD protocol, against our server and our client, without sockets."""
