"""The script of this repository: trains a small network, without batchscope."""

import argparse

import torch
from torch import nn
from utils import Digits

from engine import train_one_epoch


def build_model():
    """Return the network."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(128, 10),
    )


def main():
    """Train with the options of the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--epochs", type=int, default=2)
    options = parser.parse_args()
    model = build_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=options.lr, momentum=0.9)
    loader = torch.utils.data.DataLoader(Digits(train=True), options.batch_size, shuffle=True)
    for epoch in range(options.epochs):
        print(epoch, train_one_epoch(model, optimizer, loader, nn.CrossEntropyLoss()))


if __name__ == "__main__":
    main()
