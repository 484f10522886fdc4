import policy_samples as samples
import pytest
import torch

from policies.average import WeightAverage
from policies.optimizer import OptimizerConfig, cosine_learning_rate, make_optimizer
from policies.policy import DiffusionPolicy
from policies.rank import merged_parameters


def test_the_average_is_that_of_the_merged_weights_across_rank_changes() -> None:
    state, observation, actions = samples.some_training(batch=8)
    expected = {name: value.clone() for name, value in merged_parameters(state.policy).items()}
    update = 0
    for rank in (32, 8, 4):
        state.set_rank(rank)
        for _ in range(3):
            samples.train(state, observation, actions, 1, update)
            update += 1
            decay = min(0.995, (1 + update) / (10 + update))
            for name, value in merged_parameters(state.policy).items():
                expected[name] = decay * expected[name] + (1 - decay) * value
    found = state.average.parameters()
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)


def test_a_rank_change_leaves_the_average_alone() -> None:
    state, observation, actions = samples.some_training(batch=8)
    samples.train(state, observation, actions, 2)
    before = {name: value.clone() for name, value in state.average.parameters().items()}
    state.set_rank(4)
    assert all(torch.equal(value, before[name]) for name, value in state.average.parameters().items())


def test_the_acting_weights_load_into_a_plain_policy() -> None:
    state, observation, actions = samples.some_training(batch=8)
    state.set_rank(4)
    samples.train(state, observation, actions, 2)
    plain = DiffusionPolicy(state.policy.config)
    plain.load_state_dict(state.acting_weights())
    for name, value in state.average.parameters().items():
        assert torch.equal(plain.get_parameter(name), value)


def test_the_decay_is_warmed_up_and_then_constant() -> None:
    module = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        module.weight.fill_(0.0)
    average = WeightAverage(module, 0.9)
    with torch.no_grad():
        module.weight.fill_(1.0)
    average.update(module)
    assert float(average.parameters()["weight"]) == pytest.approx(1 - 2 / 11)
    average.updates = 10_000
    before = float(average.parameters()["weight"])
    average.update(module)
    assert float(average.parameters()["weight"]) == pytest.approx(0.9 * before + 0.1)


def test_the_optimizer_is_adamw_with_the_configured_settings_over_trainable_parameters_only() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2).requires_grad_(False))
    optimizer = make_optimizer(module, OptimizerConfig(learning_rate=3e-4))
    (group,) = optimizer.param_groups
    assert (group["lr"], group["betas"], group["weight_decay"]) == (3e-4, (0.95, 0.999), 1e-6)
    assert [id(p) for p in group["params"]] == [id(p) for p in module[0].parameters()]


def test_the_learning_rate_warms_up_and_falls_to_its_final_fraction() -> None:
    config = OptimizerConfig(learning_rate=1.0, warmup_updates=10, final_fraction=0.1)
    rates = [cosine_learning_rate(config, k, 100) for k in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.1)
    assert cosine_learning_rate(config, 500, 100) == pytest.approx(0.1)
