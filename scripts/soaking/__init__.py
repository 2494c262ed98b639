"""What `scripts/soak.py` does, a module for each part."""
