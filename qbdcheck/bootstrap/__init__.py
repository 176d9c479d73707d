"""What runs before the environment exists: it may use nothing but the standard library."""
