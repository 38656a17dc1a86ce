"""Trains a small network on made-up digits on the CPU and prints samples per second.

The data are noisy copies of ten fixed patterns, so the loss falls quickly; seeds are fixed, so a run differs
from another only in speed.
"""

import argparse
import os
import time

import torch
from torch import nn

CLASSES = 10
SIDE = 28
WARM_UP_STEPS = 20


def make_batches(steps, batch_size, generator):
    patterns = torch.rand(CLASSES, 1, SIDE, SIDE, generator=generator)
    labels = torch.randint(CLASSES, (steps, batch_size), generator=generator)
    for row in labels:
        yield patterns[row] + 0.3 * torch.randn(batch_size, 1, SIDE, SIDE, generator=generator), row


def make_network():
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * 12 * 12, 64),
        nn.ReLU(),
        nn.Linear(64, CLASSES),
    )


def train(network, batches):
    """Trains on all batches; returns the loss of the last one."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    loss_of = nn.CrossEntropyLoss()
    loss = torch.tensor(float("nan"))
    for samples, labels in batches:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(network(samples), labels)
        loss.backward()
        optimizer.step()
    return loss.item()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    options = parser.parse_args()

    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    generator = torch.Generator().manual_seed(0)
    # Made beforehand: the measured time is training only.
    batches = list(make_batches(WARM_UP_STEPS + options.steps, options.batch_size, generator))
    network = make_network()
    train(network, batches[:WARM_UP_STEPS])

    start = time.perf_counter()
    loss = train(network, batches[WARM_UP_STEPS:])
    seconds = time.perf_counter() - start

    print(
        f"torch {torch.__version__}, {options.threads} threads, {options.steps} steps of {options.batch_size}"
    )
    print(f"final loss: {loss:.4f}")
    if not loss < 0.5:
        raise SystemExit(f"the network did not learn: final loss {loss:.4f}")
    print(f"performance: {options.steps * options.batch_size / seconds:.1f} samples_per_second")


if __name__ == "__main__":
    main()
