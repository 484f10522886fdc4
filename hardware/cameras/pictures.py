"""Pictures of any camera in the size at which they are recorded."""

import cv2
import numpy as np
from numpy.typing import NDArray


def resized(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Return a picture (h, w, 3) as (height, width, 3): the middle part of the wanted proportions, averaged down."""
    h, w = image.shape[:2]
    if (h, w) == (height, width):
        return image
    scale = min(h / height, w / width)
    crop_h, crop_w = min(h, round(height * scale)), min(w, round(width * scale))
    top, left = (h - crop_h) // 2, (w - crop_w) // 2
    middle = image[top : top + crop_h, left : left + crop_w]
    smaller = cv2.resize(middle, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(smaller, dtype=np.uint8)
