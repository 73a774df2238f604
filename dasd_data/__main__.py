"""`python -m dasd_data`: the command line."""

from dasd_data.cli import main

if __name__ == "__main__":
    main()
