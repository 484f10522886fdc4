"""What Linux says of this computer's processor."""

from pathlib import Path


def about_processor(key: str, source: Path = Path("/proc/cpuinfo")) -> str:
    """Return an entry of the first core, such as "vendor_id" or "model name"; nothing where there is none."""
    lines = source.read_text(encoding="utf-8", errors="replace").splitlines() if source.exists() else []
    entries = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in entries if name.strip() == key), "")
