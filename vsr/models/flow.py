"""Motion between two frames, small enough to run inside every step of a generator."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vsr.imaging.colour import luma_of
from vsr.imaging.tensors import warp

_REACH = 2
"""Pixels of each level by which the frames are shifted against each other."""
_SHIFTS = (2 * _REACH + 1) ** 2
_WINDOW = 5
"""Side in pixels over which motion is taken to be one, when solving for it."""
_FARTHEST = 2.0
"""Pixels beyond which a linear model of brightness says nothing."""
_COARSE_LEVEL = 2
"""Halvings. From here down, motion looks no farther than some ten pixels around."""
_DAMPING = 0.02
"""Added to both directions of the least squares, as a share of all gradient energy."""


class PyramidFlow(nn.Module):
    """Flow from a frame to the one before it, refined from coarse to fine.

    At each level of a luma pyramid the previous frame is warped by what is known so far,
    and a small network finds the rest, as in SPyNet (Ranjan and Black, 2017). It is shown
    what each small shift between the two would cost, like PWC-Net's (Sun et al., 2018),
    and the shift that Lucas and Kanade's least squares give, which is exact to fractions
    of a pixel where there is texture. One network serves all levels down to half
    resolution; a lighter one, without the costs, ends at full.
    """

    def __init__(self, channels: int = 16, levels: int = 4) -> None:
        super().__init__()
        self.levels = levels
        self.layers = nn.Sequential(
            nn.Conv2d(_SHIFTS + 6, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, 2, 3, padding=1),
        )
        self.finest = nn.Sequential(
            nn.Conv2d(6, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, 2, 3, padding=1),
        )

    @property
    def coarse_level(self) -> int:
        """The level, in halvings, up to which motion needs all of a frame, see `coarse`."""
        return min(_COARSE_LEVEL, self.levels)

    def forward(self, current: Tensor, previous: Tensor, coarse: Tensor | None = None) -> Tensor:
        """RGB frames (B, 3, H, W) to flow (B, 2, H, W), in pixels, x before y.

        `warp(previous, flow)` looks like `current`. Of parts of a frame, that begin at multiples
        of 2^levels pixels, `coarse` is the part of what `coarse` gave for the whole.
        """
        height, width = current.shape[-2:]
        # f32 even where the rest is not: small differences of brightness are all there is.
        with torch.autocast(current.device.type, enabled=False):
            pyramid = [(self.padded_luma(current), self.padded_luma(previous))]
            for _ in range(self.coarse_level):
                pyramid.append(_halved(*pyramid[-1]))
            if coarse is None:
                coarse = self.coarse(*pyramid[-1])
            flow = coarse
            for level in range(self.coarse_level - 1, 0, -1):
                flow = self._refined(*pyramid[level], _doubled(flow))
            flow = _doubled(flow)
            here, before = pyramid[0]
            before = warp(before, flow)
            seen = (here, before, (here - before).abs(), *least_squares(here, before))
            flow = flow + self.finest(torch.cat(seen, dim=1))
        found: Tensor = flow[..., :height, :width]
        return found

    def padded_luma(self, frame: Tensor) -> Tensor:
        """RGB (B, 3, H, W) to luma around 0, its sides filled up to multiples of 2^levels."""
        luma = (luma_of(frame.float()) / 128 - 1).unsqueeze(1)
        step = 2**self.levels
        pad = (0, -luma.shape[-1] % step, 0, -luma.shape[-2] % step)
        return F.pad(luma, pad, mode="replicate") if any(pad) else luma

    def coarse(self, here: Tensor, before: Tensor) -> Tensor:
        """Flow at `coarse_level`, of padded luma planes (B, 1, h, w) of that level."""
        pyramid = [(here, before)]
        for _ in range(self.levels - self.coarse_level):
            pyramid.append(_halved(*pyramid[-1]))
        here, before = pyramid.pop()
        flow = here.new_zeros(here.shape[0], 2, *here.shape[-2:])
        flow = flow + self._seen(here, before, flow)
        while pyramid:
            flow = self._refined(*pyramid.pop(), _doubled(flow))
        return flow

    def _refined(self, here: Tensor, before: Tensor, flow: Tensor) -> Tensor:
        return flow + self._seen(here, warp(before, flow), flow)

    def _seen(self, here: Tensor, before: Tensor, flow: Tensor) -> Tensor:
        """What the network adds to a flow by which `before` has been warped."""
        seen = (shift_costs(here, before), here, flow / 4, *least_squares(here, before))
        rest: Tensor = self.layers(torch.cat(seen, dim=1))
        return rest


def shift_costs(here: Tensor, before: Tensor) -> Tensor:
    """How badly two luma planes (B, 1, H, W) match at each small shift: (B, 25, H, W).

    Mean absolute difference over 3 x 3 pixels, over its mean of all shifts, so that
    1 is average and contrast doesn't matter.
    """
    height, width = here.shape[-2:]
    padded = F.pad(before, (_REACH,) * 4, mode="replicate")
    shifted = [
        padded[..., y : y + height, x : x + width]
        for y in range(2 * _REACH + 1)
        for x in range(2 * _REACH + 1)
    ]
    costs = F.avg_pool2d((torch.cat(shifted, dim=1) - here).abs(), 3, 1, 1)
    return costs / (costs.mean(dim=1, keepdim=True) + 0.01)


def least_squares(here: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """The shift (B, 2, H, W) between luma planes (B, 1, H, W), and how sure it is (B, 1, H, W).

    Lucas and Kanade's (1981): around each pixel, the shift that explains the difference
    of brightness best by its gradients, damped where these are weak. Sure is 1 where
    gradients point everywhere alike and 0 where they are parallel or absent.
    """
    mean = here + before
    across = F.pad(mean, (1, 1, 0, 0), mode="replicate")
    across = (across[..., 2:] - across[..., :-2]) / 4
    down = F.pad(mean, (0, 0, 1, 1), mode="replicate")
    down = (down[..., 2:, :] - down[..., :-2, :]) / 4
    change = here - before
    products = torch.cat(
        (across * across, across * down, down * down, across * change, down * change), dim=1
    )
    for side in (_WINDOW, 3):
        products = F.avg_pool2d(products, side, 1, side // 2, count_include_pad=False)
    xx, xy, yy, xt, yt = products.unsqueeze(2).unbind(1)
    energy = xx + yy
    damping = 1e-4 + _DAMPING * energy
    xx, yy = xx + damping, yy + damping
    determinant = xx * yy - xy * xy
    shift = torch.cat((yy * xt - xy * yt, xx * yt - xy * xt), dim=1) / determinant
    return shift.clamp(-_FARTHEST, _FARTHEST), 4 * determinant / (energy + 1e-4) ** 2


def _halved(here: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    return F.avg_pool2d(here, 2), F.avg_pool2d(before, 2)


def _doubled(flow: Tensor) -> Tensor:
    """A flow (B, 2, H, W) at twice the size, its pixels twice as many."""
    return 2 * F.interpolate(flow, scale_factor=2, mode="bilinear")
