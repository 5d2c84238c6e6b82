"""`python -m rmmbench` is the command `rmmbench`."""

from rmmbench.cli import main

if __name__ == "__main__":
    main()
