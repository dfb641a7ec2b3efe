"""LR-ASD's network: from the face and the sound of 40 ms steps to whether this face is talking.

The layers have the names that the weights file of the authors has. B is the number of stretches, T the number of video
frames of each.

Source: Liao et al., "LR-ASD: Lightweight and Robust Network for Active Speaker Detection", IJCV 2025; weights under the
MIT licence.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

VIDEO_RATE_HZ = 25
N_COEFFICIENTS = 13  # MFCC per step of 10 ms
STEPS_PER_FRAME = 4  # MFCC steps, 100 a second, per video frame
FACE_SIDE_PX = 112
PIXEL_MEAN, PIXEL_STD = 0.4161, 0.1688  # of pixels in 0..1
CHANNELS = (32, 64, 128)  # of an encoder's three blocks
NORM_EPS = 0.001
TALKING = 1  # the column of the classifier's output that is the score of talking


class VisualBlock(nn.Module):
    """Space, then time: convolutions over 5x5 and 3x3 pixels, then over 5 and 3 frames."""

    def __init__(self, n_in: int, n_out: int, *, stride: int = 1) -> None:
        super().__init__()
        half = n_out // 2
        self.s_1 = nn.Conv3d(n_in, half, (1, 5, 5), stride=(1, stride, stride), padding=(0, 2, 2), bias=False)
        self.s_norm_1 = nn.BatchNorm3d(half, eps=NORM_EPS)
        self.s_2 = nn.Conv3d(half, n_out, (1, 3, 3), padding=(0, 1, 1), bias=False)
        self.s_norm_2 = nn.BatchNorm3d(n_out, eps=NORM_EPS)
        self.t_1 = nn.Conv3d(n_out, n_out, (5, 1, 1), padding=(2, 0, 0), bias=False)
        self.t_norm_1 = nn.BatchNorm3d(n_out, eps=NORM_EPS)
        self.t_2 = nn.Conv3d(n_out, n_out, (3, 1, 1), padding=(1, 0, 0), bias=False)
        self.t_norm_2 = nn.BatchNorm3d(n_out, eps=NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, n_out, T, h', w') of (B, n_in, T, h, w)."""
        x = self.s_norm_1(self.s_1(x)).relu()
        x = self.s_norm_2(self.s_2(x)).relu()
        x = self.t_norm_1(self.t_1(x)).relu()
        y: Tensor = self.t_norm_2(self.t_2(x)).relu()
        return y


class VisualEncoder(nn.Module):
    """Grey faces to 128 numbers a frame."""

    def __init__(self) -> None:
        super().__init__()
        self.block1 = VisualBlock(1, CHANNELS[0], stride=2)
        self.block2 = VisualBlock(CHANNELS[0], CHANNELS[1])
        self.block3 = VisualBlock(CHANNELS[1], CHANNELS[2])
        self.pool = nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))

    def forward(self, faces: Tensor) -> Tensor:
        """Return (B, T, 128) of faces (B, T, 112, 112), values 0 to 255."""
        x = ((faces / 255 - PIXEL_MEAN) / PIXEL_STD)[:, None]  # (B, 1, T, 112, 112)
        x = self.pool(self.block1(x))  # (B, 32, T, 28, 28)
        x = self.pool(self.block2(x))  # (B, 64, T, 14, 14)
        seen: Tensor = self.block3(x).amax(dim=(3, 4))  # (B, 128, T)
        return seen.transpose(1, 2)  # (B, T, 128)


class AudioBlock(nn.Module):
    """The same over the coefficients, then over time."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        half = n_out // 2
        self.m_1 = nn.Conv2d(n_in, half, (5, 1), padding=(2, 0), bias=False)
        self.m_norm_1 = nn.BatchNorm2d(half, eps=NORM_EPS)
        self.m_2 = nn.Conv2d(half, n_out, (3, 1), padding=(1, 0), bias=False)
        self.m_norm_2 = nn.BatchNorm2d(n_out, eps=NORM_EPS)
        self.t_1 = nn.Conv2d(n_out, n_out, (1, 5), padding=(0, 2), bias=False)
        self.t_norm_1 = nn.BatchNorm2d(n_out, eps=NORM_EPS)
        self.t_2 = nn.Conv2d(n_out, n_out, (1, 3), padding=(0, 1), bias=False)
        self.t_norm_2 = nn.BatchNorm2d(n_out, eps=NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, n_out, 13, steps) of (B, n_in, 13, steps)."""
        x = self.m_norm_1(self.m_1(x)).relu()
        x = self.m_norm_2(self.m_2(x)).relu()
        x = self.t_norm_1(self.t_1(x)).relu()
        y: Tensor = self.t_norm_2(self.t_2(x)).relu()
        return y


class AudioEncoder(nn.Module):
    """MFCC of four steps a frame to 128 numbers a frame."""

    def __init__(self) -> None:
        super().__init__()
        self.block1 = AudioBlock(1, CHANNELS[0])
        self.block2 = AudioBlock(CHANNELS[0], CHANNELS[1])
        self.block3 = AudioBlock(CHANNELS[1], CHANNELS[2])
        self.pool = nn.MaxPool2d((1, 3), stride=(1, 2), padding=(0, 1))

    def forward(self, coefficients: Tensor) -> Tensor:
        """Return (B, T, 128) of coefficients (B, 4 T, 13)."""
        x = coefficients.transpose(1, 2)[:, None]  # (B, 1, 13, 4 T)
        x = self.pool(self.block1(x))  # (B, 32, 13, 2 T)
        x = self.pool(self.block2(x))  # (B, 64, 13, T)
        heard: Tensor = self.block3(x).mean(dim=2)  # (B, 128, T)
        return heard.transpose(1, 2)  # (B, T, 128)


class Gate(nn.Module):
    """Each number times how much it counts here, 0 to 1, which all the numbers of its frame decide."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.attention = nn.Conv1d(size, size, 1, bias=False)
        self.bn = nn.BatchNorm1d(size, eps=NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, T, size) of (B, T, size)."""
        weights: Tensor = self.bn(self.attention(x.transpose(1, 2))).sigmoid()  # (B, size, T)
        return x * weights.transpose(1, 2)


class Detector(nn.Module):
    """The context before and after each frame."""

    def __init__(self, size: int, *, hidden: int = 64) -> None:
        super().__init__()
        self.gru_forward = nn.GRU(size, hidden, batch_first=True)
        self.gru_backward = nn.GRU(size, hidden, batch_first=True)
        self.attention = Gate(2 * hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, T, 128) of (B, T, 256)."""
        before, _ = self.gru_forward(x)  # (B, T, 64)
        after, _ = self.gru_backward(x.flip(1))  # (B, T, 64), backwards
        both: Tensor = self.attention(torch.cat([before, after.flip(1)], dim=2))
        return both


class Encoders(nn.Module):
    """Both encoders, the gate over what they give, and the detector over time; the faces come encoded."""

    def __init__(self) -> None:
        super().__init__()
        self.visualEncoder = VisualEncoder()
        self.audioEncoder = AudioEncoder()
        self.fusion = Gate(2 * CHANNELS[-1])
        self.detector = Detector(2 * CHANNELS[-1])

    def forward(self, seen: Tensor, coefficients: Tensor) -> Tensor:
        """Return (B, T, 128) of what the visual encoder saw (B, T, 128) and coefficients (B, 4 T, 13)."""
        heard = self.audioEncoder(coefficients)
        talk: Tensor = self.detector(self.fusion(torch.cat([heard, seen], dim=2)))
        return talk


class Classifier(nn.Module):
    """Silent or talking."""

    def __init__(self, size: int = CHANNELS[-1]) -> None:
        super().__init__()
        self.FC = nn.Linear(size, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, T, 2) of (B, T, 128)."""
        scores: Tensor = self.FC(x)
        return scores


class ActiveSpeakerNetwork(nn.Module):
    """The whole network. `lossV`, a classifier of the faces alone, was used in training only."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Encoders()
        self.lossAV = Classifier()
        self.lossV = Classifier()

    def forward(self, faces: Tensor, coefficients: Tensor) -> Tensor:
        """Return the score of talking (B, T), above 0 where the face talks.

        faces : (B, T, 112, 112), grey, 0 to 255, 25 a second; coefficients : (B, 4 T, 13), 100 a second
        """
        return self.judge(self.model.visualEncoder(faces), coefficients)

    def judge(self, seen: Tensor, coefficients: Tensor) -> Tensor:
        """Return the same of faces that are encoded already, (B, T, 128)."""
        scores: Tensor = self.lossAV(self.model(seen, coefficients))
        return scores[:, :, TALKING]
