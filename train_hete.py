"""Train and test a model on items of several kinds, each kind with its own columns.

python train_hete.py duration
python train_hete.py configs/duration.json data=epinions opt.epochs=20 --seed 1
"""

import sys

from hrec.cli.train import train

if __name__ == "__main__":
    sys.exit(train("Train on items of several kinds, each with its own features.", homogeneous=False))
