import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from policies.allocation import Spectrum, ranks_by_spectrum, trained_numbers
from policies.rank import modulate, modulated_layers, set_rank

SPECTRA = st.lists(
    st.tuples(st.integers(1, 12) | st.integers(126, 130), st.integers(1, 12), st.floats(0.0, 3.0), st.booleans()),
    min_size=1,
    max_size=6,
)


def spectrum(rows: int, columns: int, decay: float, nothing: bool = False) -> Spectrum:
    """Energies that fall off by a factor from direction to direction, or are all zero."""
    energies = torch.exp(-decay * torch.arange(min(rows, columns), dtype=torch.float64))
    return Spectrum(rows, columns, torch.zeros_like(energies) if nothing else energies)


@given(SPECTRA, st.integers(1, 14))
def test_no_more_numbers_are_trained_than_at_the_same_rank_everywhere_and_every_layer_is(
    sizes: list[tuple[int, int, float, bool]], rank: int
) -> None:
    spectra = {f"layer {i}": spectrum(*size) for i, size in enumerate(sizes)}
    ranks = ranks_by_spectrum(spectra, rank)
    assert ranks.keys() == spectra.keys()
    assert all(1 <= ranks[name] <= len(s.energies) for name, s in spectra.items())

    def trained(of: dict[str, int]) -> int:
        return sum(trained_numbers(s.rows, s.columns, of[name]) for name, s in spectra.items())

    assert trained(ranks) <= trained(dict.fromkeys(spectra, rank))
    more = ranks_by_spectrum(spectra, rank + 1)
    assert all(more[name] >= ranks[name] for name in spectra)


def test_layers_of_one_spectrum_get_the_same_rank_as_without() -> None:
    spectra = {name: spectrum(12, 20, 0.1) for name in "abc"}
    assert ranks_by_spectrum(spectra, 5) == dict.fromkeys("abc", 5)


def test_a_layer_whose_energy_is_in_few_directions_leaves_its_numbers_to_the_others() -> None:
    ranks = ranks_by_spectrum({"steep": spectrum(40, 40, 1.0), "flat": spectrum(40, 40, 0.01)}, 8)
    assert ranks["steep"] < 8 < ranks["flat"]


@pytest.mark.parametrize("make", [lambda: nn.Linear(12, 30), lambda: nn.Conv1d(4, 20, 5)])
def test_a_layers_spectrum_is_that_of_its_matrix(make: object) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(make())  # type: ignore[operator]
    modulate(network)
    set_rank(network, None, 3)
    ((_, layer),) = modulated_layers(network)
    matrix = layer.merged_weight().flatten(1).double()
    torch.testing.assert_close(layer.spectrum().energies, torch.linalg.svdvals(matrix).square())
    assert (layer.spectrum().rows, layer.spectrum().columns) == tuple(matrix.shape)
