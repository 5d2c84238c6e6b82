"""`python -m rmmbench` is the command `rmmbench`."""

import sys

if __name__ == "__main__":
    if not sys.flags.safe_path:
        # Python puts the working directory first, where any file would stand in for a library's.
        sys.path.append(sys.path.pop(0))
    from rmmbench.cli import main

    main()
