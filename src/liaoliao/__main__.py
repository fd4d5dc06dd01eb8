"""`python -m liaoliao` is `liaoliao`."""

from liaoliao.cli import main

if __name__ == "__main__":
    main()
