"""`python -m batch` is the `imagebatch` command."""

from batch.cli.app import main

if __name__ == "__main__":
    main()
