"""Train and test a model on items of several kinds, each kind with its own columns.

python train_hete.py duration
python train_hete.py configs/duration.json data=epinions opt.epochs=20 --seed 1
"""

import sys

if __name__ == "__main__":
    try:
        from hrec.cli import main
    except KeyboardInterrupt:  # torch takes seconds to load
        print("stopped", file=sys.stderr)
        sys.exit(130)
    sys.exit(main("Train on items of several kinds, kept apart.", homogeneous=False))
