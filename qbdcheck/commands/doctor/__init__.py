"""`./check --doctor`: shows what is installed, what is missing, and how to install it."""
