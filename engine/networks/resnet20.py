"""ResNet-20, the network for CIFAR-10 of He et al. 2015 (arXiv:1512.03385, section 4.2).

Three stages of 16, 32 and 64 channels with n = 3 basic blocks each: 6n + 2 = 20 layers. Where the
shape changes it projects (option B), as `resnet18` does; the paper pads with zeros here (option A),
which takes 2,752 weights fewer. Its initial weights are drawn as those of `resnet18`.
"""

from batchscope.engine.networks.resnet import ResNet, not_taken

RESNET20 = ResNet(
    name="resnet20",
    summary="ResNet-20, the one for CIFAR-10 of He et al. 2015",
    stages=(16, 32, 64),
    blocks=3,
    not_taken=not_taken("resnet20"),
)
