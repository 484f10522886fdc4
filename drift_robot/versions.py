"""The folder of policy versions that trainer and robot share: publish, find the newest good one, quarantine.

<folder>/000003/               a published version; appears whole by one rename and never changes
<folder>/000003.quarantined    its mark once an operator rolled it back; for good
"""

from pathlib import Path

from drift_robot.errors import UserError


class Versions:
    """The versions in one folder, counted from 0 (the bootstrapped policy)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, version: int) -> Path:
        """Return where a version is, or will be published."""
        return self.folder / f"{version:06d}"

    def able(self, version: int) -> Path:
        """Return where a version is that may act. Raises UserError if there is none of that number, or it is barred."""
        if not self.path(version).is_dir():
            there = ", ".join(map(str, self.good())) or "none; run 'drift-robot bootstrap' first"
            raise UserError(f"{self.folder} holds no version {version}; there are: {there}.")
        if self.is_quarantined(version):
            raise UserError(f"Version {version} is barred and never acts again; name another one.")
        return self.path(version)

    def published(self) -> list[int]:
        """Return every published version, quarantined ones too, oldest first."""
        return sorted(int(entry.name) for entry in self.folder.iterdir() if entry.name.isdecimal() and entry.is_dir())

    def good(self) -> list[int]:
        """Return the versions that may act, oldest first."""
        return [version for version in self.published() if not self.is_quarantined(version)]

    def newest_good(self) -> int | None:
        """Return the newest version that may act, or None."""
        good = self.good()
        return good[-1] if good else None

    def next(self) -> int:
        """Return the number that the next published version gets; a quarantined number is never used again."""
        published = self.published()
        return published[-1] + 1 if published else 0

    def quarantine(self, version: int) -> None:
        """Bar a version from ever acting again."""
        self._mark(version).touch()

    def is_quarantined(self, version: int) -> bool:
        """Whether a version was barred."""
        return self._mark(version).exists()

    def _mark(self, version: int) -> Path:
        return self.folder / f"{version:06d}.quarantined"
