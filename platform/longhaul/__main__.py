"""Lets ``python -m longhaul`` do what ``longhaul`` does."""

from longhaul.cli.main import main

if __name__ == "__main__":
    main(prog_name="longhaul")
