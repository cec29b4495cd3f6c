"""Small networks that attend, gate or mix channels by what they hold; `constructs` lists them with their inputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.networks.parts import Apply, Scale, conv, sequence


def squeeze_excite() -> nn.Module:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        y = functional.relu(m.first(x))
        gate = torch.sigmoid(m.expand(functional.relu(m.squeeze(y.mean((2, 3), keepdim=True)))))
        return m.last(y * gate)

    return Apply(forward, first=conv(3, 8), squeeze=conv(8, 4, 1), expand=conv(4, 8, 1), last=conv(8, 2))


def squeeze_excite_linear() -> nn.Module:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        y = functional.relu(m.first(x))
        pooled = functional.adaptive_avg_pool2d(y, 1).view(y.shape[0], y.shape[1])
        return m.last(y * torch.sigmoid(m.expand(functional.relu(m.squeeze(pooled)))).view(y.shape[0], -1, 1, 1))

    return Apply(forward, first=conv(3, 8), squeeze=nn.Linear(8, 4), expand=nn.Linear(4, 8), last=conv(8, 2))


def spatial_attention() -> nn.Module:
    """CBAM's: mean and maximum over the channels, so a cut changes what they are taken over."""

    def forward(m: nn.Module, x: Tensor) -> Tensor:
        y = m.first(x)
        seen = torch.cat([y.mean(1, keepdim=True), y.amax(1, keepdim=True)], 1)
        return m.last(y * torch.sigmoid(m.attend(seen)))

    return Apply(forward, first=conv(3, 8), attend=conv(2, 1, 7), last=conv(8, 2))


def gated_attention() -> nn.Module:
    """Attention U-Net's gate: two features are added, and one map scales the skip."""
    return Apply(
        lambda m, x: m.last((s := m.skip(x)) * torch.sigmoid(m.psi(functional.relu(m.query(m.gate(x)) + m.key(s))))),
        skip=conv(3, 6),
        gate=conv(3, 8),
        query=conv(8, 4, 1),
        key=conv(6, 4, 1),
        psi=conv(4, 1, 1),
        last=conv(6, 2),
    )


def position_attention() -> nn.Module:
    """Non-local: pixels attend to pixels; query and key are contracted over their channels."""

    def forward(m: nn.Module, x: Tensor) -> Tensor:
        y = m.first(x)
        query, key, value = m.query(y).flatten(2), m.key(y).flatten(2), m.value(y).flatten(2)
        weights = torch.softmax(query.transpose(1, 2) @ key, dim=-1)
        return m.last((value @ weights.transpose(1, 2)).view(y.shape[0], -1, *y.shape[2:]) + y)

    return Apply(
        forward, first=conv(3, 8), query=conv(8, 4, 1), key=conv(8, 4, 1), value=conv(8, 8, 1), last=conv(8, 2)
    )


def windows() -> nn.Module:
    """Swin's way: pixels are rolled and dealt into windows by a view and a permutation; channels pass through."""

    def forward(m: nn.Module, x: Tensor) -> Tensor:
        y = torch.roll(m.first(x).permute(0, 2, 3, 1), shifts=(-1, -1), dims=(1, 2))
        count, height, width, _ = y.shape
        y = y.view(count, height // 4, 4, width // 4, 4, -1).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, y.shape[-1])
        y = torch.tanh(m.inside(y)).view(count, height // 4, width // 4, 4, 4, -1).permute(0, 1, 3, 2, 4, 5)
        return m.last(y.reshape(count, height, width, -1).permute(0, 3, 1, 2))

    return Apply(forward, first=conv(3, 8), inside=nn.Linear(8, 6), last=conv(6, 2))


def heads(module: nn.Module, tensor: Tensor) -> Tensor:
    return tensor.view(tensor.shape[0], tensor.shape[1], 2, -1).transpose(1, 2)


def attention(scale: float | None) -> nn.Module:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        tokens = m.first(x).flatten(2).transpose(1, 2)
        query, key, value = (heads(m, layer(tokens)) for layer in (m.query, m.key, m.value))
        attended = functional.scaled_dot_product_attention(query, key, value, scale=scale)
        return m.last(tokens + m.back(attended.transpose(1, 2).flatten(2)))

    return Apply(
        forward,
        first=conv(3, 8),
        query=nn.Linear(8, 12),
        key=nn.Linear(8, 12),
        value=nn.Linear(8, 12),
        back=nn.Linear(12, 8),
        last=nn.Linear(8, 2),
    )


def multihead() -> nn.Module:
    """nn.MultiheadAttention checks its widths in Python."""

    def forward(m: nn.Module, x: Tensor) -> Tensor:
        tokens = m.first(x).flatten(2).transpose(1, 2)
        return m.last(functional.relu(m.mlp(m.attend(tokens, tokens, tokens, need_weights=False)[0])))

    return Apply(
        forward,
        first=conv(3, 8),
        attend=nn.MultiheadAttention(8, 2, batch_first=True),
        mlp=nn.Linear(8, 10),
        last=nn.Linear(10, 2),
    )


def convnext_block() -> nn.Module:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        y = m.first(x)
        inner = m.shrink(functional.gelu(m.widen(m.norm(m.deep(y).permute(0, 2, 3, 1)))))
        return m.last(y + m.scale(inner.permute(0, 3, 1, 2)))

    return Apply(
        forward,
        first=conv(3, 8),
        deep=conv(8, 8, 7, groups=8),
        norm=nn.LayerNorm(8),
        widen=nn.Linear(8, 16),
        shrink=nn.Linear(16, 8),
        scale=Scale(8),
        last=conv(8, 2),
    )


def radix_softmax() -> nn.Module:
    """ResNeSt's split attention with radix two."""

    def forward(m: nn.Module, x: Tensor) -> Tensor:
        y = functional.relu(m.split(m.first(x)))
        count, channels = y.shape[:2]
        y = y.reshape(count, 2, channels // 2, *y.shape[2:])
        weights = m.expand(functional.relu(m.squeeze(y.sum(1).mean((2, 3), keepdim=True))))
        weights = weights.view(count, 1, 2, -1).transpose(1, 2).softmax(1).reshape(count, -1)
        return m.last((y * weights.view(count, 2, channels // 2, 1, 1)).sum(1))

    return Apply(
        forward,
        first=conv(3, 6),
        split=conv(6, 12, groups=2),
        squeeze=conv(6, 4, 1),
        expand=conv(4, 12, 1),
        last=conv(6, 2),
    )


def split_pyramid() -> nn.Module:
    """Res2Net's: parts of one convolution's output run through each other; the part's width is held in Python."""

    def forward(m: nn.Module, x: Tensor) -> Tensor:
        parts = torch.split(functional.relu(m.first(x)), m.part, 1)
        one = m.one(parts[0])
        two = m.two(one + parts[1])
        return m.last(torch.cat([one, two, parts[2]], 1))

    net = Apply(forward, first=conv(3, 12), one=conv(4, 4), two=conv(4, 4), last=conv(12, 2))
    net.part = 4
    return net


def gated_linear_unit() -> nn.Module:
    return sequence(conv(3, 8), nn.GLU(dim=1), conv(4, 6), conv(6, 2))
