"""Train and test a model that takes all items as one kind, or one kind alone.

python train_homo.py deepmf
python train_homo.py deepmf data.single_type=book
"""

import sys

if __name__ == "__main__":
    try:
        from hrec.cli import main
    except KeyboardInterrupt:  # torch takes seconds to load
        print("stopped", file=sys.stderr)
        sys.exit(130)
    sys.exit(main("Train with all items as one kind, or on one kind alone.", homogeneous=True))
