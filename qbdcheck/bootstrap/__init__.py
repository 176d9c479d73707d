"""The code that runs before the environment exists. It uses only the standard library."""
