"""The subcommands of ./check, one module each."""
