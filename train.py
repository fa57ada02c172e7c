"""The guide's first step, CIFAR-10 at 32 x 32: train_high_res.py with these two defaults and the same flags."""

import sys

from train_high_res import main

if __name__ == "__main__":
    sys.exit(main(dataset="cifar10", size=32))
