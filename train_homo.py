"""Train and test a model that takes all items as one kind, or one kind alone.

python train_homo.py deepmf
python train_homo.py deepmf data.single_type=book
"""

import sys

from hrec.cli.train import train

if __name__ == "__main__":
    sys.exit(train("Train with all items as one kind, or on one kind alone.", homogeneous=True))
