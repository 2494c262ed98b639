"""`python -m cyclic.cli`."""

from cyclic.cli import main

if __name__ == "__main__":
    main()
