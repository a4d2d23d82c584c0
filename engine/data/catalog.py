"""Describes each data set before it is read.

The viewer imports this at start-up, so it only imports msgspec.
"""

from msgspec import Struct


class Dataset(Struct, frozen=True):
    """One data set of images.

    Attributes:
        name: its name in presets.
        title: its name on screen.
        shape: (channels, height, width) of an image, in pixels.
        classes: number of classes.
        train_size: number of published training images; a folder of the user may have fewer.
        test_size: number of published test images; a folder of the user may have fewer.
        mean: mean per channel of the training pixels, scaled to 0..1 by `pixel_max`. It normalizes
            all images, also those of a user's folder.
        std: standard deviation per channel, in the same unit.
        download_bytes: compressed size of the download.
        pixel_max: highest pixel value.
    """

    name: str
    title: str
    shape: tuple[int, int, int]
    classes: int
    train_size: int
    test_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    download_bytes: int
    pixel_max: int = 255


_ALL = (
    # Bundled with scikit-learn (the test part of UCI's "Optical Recognition of Handwritten
    # Digits"). The split is `engine.data.prepare`'s; mean and std are of its 1,437 training images.
    Dataset(
        name="digits",
        title="Handwritten digits, 8×8",
        shape=(1, 8, 8),
        classes=10,
        train_size=1437,
        test_size=360,
        mean=(0.3054,),
        std=(0.3759,),
        download_bytes=0,
        pixel_max=16,
    ),
    # LeCun, Cortes and Burges. The constants of PyTorch's MNIST example.
    Dataset(
        name="mnist",
        title="MNIST",
        shape=(1, 28, 28),
        classes=10,
        train_size=60_000,
        test_size=10_000,
        mean=(0.1307,),
        std=(0.3081,),
        download_bytes=9_912_422 + 28_881 + 1_648_877 + 4_542,
    ),
    # Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747.
    Dataset(
        name="fashion-mnist",
        title="Fashion-MNIST",
        shape=(1, 28, 28),
        classes=10,
        train_size=60_000,
        test_size=10_000,
        mean=(0.2860,),
        std=(0.3530,),
        download_bytes=26_421_880 + 29_515 + 4_422_102 + 5_148,
    ),
    # Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images".
    Dataset(
        name="cifar10",
        title="CIFAR-10",
        shape=(3, 32, 32),
        classes=10,
        train_size=50_000,
        test_size=10_000,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
        download_bytes=170_498_071,
    ),
)

DATASETS: dict[str, Dataset] = {dataset.name: dataset for dataset in _ALL}
