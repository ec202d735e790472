"""`python -m hf_stitch` is `hf-stitch`."""

import sys

from hf_stitch.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
