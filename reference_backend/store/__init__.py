"""Where the bytes live: volumes, their volatile write cache, memory and file stores."""
