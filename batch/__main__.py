"""`python -m batch` is the `imagebatch` command."""

from batch.cli import main

if __name__ == "__main__":
    main()
