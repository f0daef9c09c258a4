"""Pictures become tokens as convolutions define it, each by itself."""

import pytest
import torch
import torch.nn.functional as F

from seqrl.models.embeddings import ImageEmbedding


def embedding(shape, width=8):
    made = ImageEmbedding(shape, width)
    made.reset(torch.Generator().manual_seed(0))
    return made


@pytest.mark.parametrize("shape", [(10, 10, 1), (24, 17, 3), (84, 84, 4), (3, 3, 2)])
def test_it_is_what_torchs_convolutions_give(shape):
    made = embedding(shape)
    pictures = torch.randn(5, *shape, generator=torch.Generator().manual_seed(1))
    x = pictures.permute(0, 3, 1, 2)
    for layer in made.convolutions:
        kernel = layer.weight.unflatten(1, (-1, 3, 3))
        odd = F.pad(x, (0, 1 - x.shape[3] % 2, 0, 1 - x.shape[2] % 2))  # no row or column is left out
        x = torch.relu(F.conv2d(odd, kernel, layer.bias, stride=2))
    expected = F.linear(x.permute(0, 2, 3, 1).flatten(1), made.output.weight, made.output.bias)
    torch.testing.assert_close(made(pictures), expected, rtol=1e-4, atol=1e-5)


def test_leading_axes_and_grey_pictures_without_channel():
    made = embedding((12, 9))
    pictures = torch.randn(2, 3, 12, 9, generator=torch.Generator().manual_seed(1))
    assert made(pictures).shape == (2, 3, 8)
    torch.testing.assert_close(made(pictures)[1, 2], made(pictures[1, 2][None])[0])


def test_too_small_pictures_are_refused():
    with pytest.raises(ValueError, match="the images are 2 x 5 pixels"):
        ImageEmbedding((2, 5, 3), 8)


@pytest.mark.parametrize("side", range(3, 13))
def test_every_pixel_counts(side):
    made = embedding((side, side, 1), width=4)
    picture = torch.randn(1, side, side, 1, generator=torch.Generator().manual_seed(1), requires_grad=True)
    made(picture).square().sum().backward()
    assert (picture.grad != 0).all()
