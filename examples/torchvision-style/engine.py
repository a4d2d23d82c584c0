"""The loops of this repository, in a module that is called `engine` as in many others."""

import utils


def train_one_epoch(model, optimizer, loader, criterion):
    """Train for one epoch and return the mean loss of its batches."""
    model.train()
    meter = utils.Meter()
    for images, labels in loader:
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
        meter.update(loss.item(), len(labels))
    return meter.mean


def count_right(outputs, labels):
    """Return how many outputs are right."""
    return (outputs.argmax(1) == labels).sum()
