"""What the scripts of this repository share."""

import torch
from sklearn.datasets import load_digits


class Meter:
    """A running mean."""

    def __init__(self):
        self.total, self.count = 0.0, 0

    def update(self, value, count):
        """Add a mean over `count` samples."""
        self.total, self.count = self.total + value * count, self.count + count

    @property
    def mean(self):
        """Return the mean so far."""
        return self.total / max(1, self.count)


class Digits(torch.utils.data.Dataset):
    """Handwritten digits of 8 × 8 pixels."""

    def __init__(self, train):
        data = load_digits()
        part = slice(0, 1400) if train else slice(1400, None)
        self.images = torch.tensor(data.images[part], dtype=torch.float32).unsqueeze(1) / 16
        self.labels = torch.tensor(data.target[part])

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, number):
        return self.images[number], self.labels[number]
