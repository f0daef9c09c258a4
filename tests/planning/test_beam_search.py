import itertools

import numpy as np
import pytest
import torch

from seqrl.config import PlanningSpec, SamplingSpec, check_planning
from seqrl.planning import History, Planner, PlanNoise
from tests.trajectories import box, first_tokens, make_columns, make_model

DISCRETE = make_columns()
CONTINUOUS = make_columns(action=box(2))


def history_of(model, columns, steps: int, episodes=(0,)) -> History:
    """After ``steps`` complete transitions of some episodes."""
    tokens = first_tokens(model, columns, steps + 1, np.array(episodes))
    return History(tokens[:, :steps, :-1], tokens[:, steps, model.layout.observation])


def spec(**changes) -> PlanningSpec:
    return PlanningSpec(**{"beam_width": 4, "horizon": 2, "context": 2, "expansion": 2} | changes)


class Imagined:
    """One future, imagined step by step with whole sequences through the plain network."""

    def __init__(self, model, history: History, row: int, context: int) -> None:
        self.model, self.layout = model, model.layout
        past = history.transitions[row]
        self.steps = [step.tolist() for step in past[max(0, len(past) - context + 1) :]]
        self.present = history.observation[row].tolist()
        tokenizer = model.tokenizer()
        self.end = tokenizer.end_token
        self.reward_values = tokenizer.bins.values[self.layout.reward]
        self.value_values = tokenizer.bins.values[self.layout.value].copy()
        self.value_values[self.end :] = 0
        self.returns = tokenizer.value_returns
        self.total = self.undiscounted = 0.0
        self.alive, self.depth = 1.0, 0

    def probabilities(self, dimension: int) -> np.ndarray:
        """Of the next token, which is ``dimension`` of the present transition (or the first of a new one)."""
        here = self.present + [0] * (len(self.layout) - len(self.present))
        window = [step + [0] for step in self.steps] + [here]
        tokens = torch.tensor([window])
        logits = self.model(tokens)[0, -1, dimension].double()
        return logits.softmax(-1).numpy()

    def take(self, actions: tuple[int, ...]) -> float:
        """Act, imagine reward, value and the next observation; the score after it."""
        self.present += list(actions)
        reward = self.probabilities(self.layout.reward)
        self.present.append(int(reward.argmax()))
        value = self.probabilities(self.layout.value)
        discount = self.model.discount
        self.total += discount**self.depth * self.alive * (reward @ self.reward_values)
        self.undiscounted += self.alive * (reward @ self.reward_values)
        score = self.total + discount ** (self.depth + 1) * self.alive * (value @ self.value_values)
        self.predicted_return = self.undiscounted + self.alive * (value @ self.returns)
        self.alive *= 1 - value[self.end]
        self.depth += 1
        self.steps.append(self.present)
        self.present = []
        self.score = float(score)
        return self.score

    def observe(self) -> None:
        if len(self.steps) == self.model.context_length:
            self.steps = self.steps[-(self.model.context_length // 2) :]
        for dimension in range(self.layout.observation.stop):
            self.present.append(int(self.probabilities(dimension).argmax()))


def exhaustive(model, history: History, planning: PlanningSpec, row: int = 0) -> dict[tuple, Imagined]:
    """Every sequence of actions of the horizon."""
    counts = model.tokenizer().vocabulary[model.layout.action]
    actions = list(itertools.product(*(range(count) for count in counts)))
    futures = {}
    for sequence in itertools.product(actions, repeat=planning.horizon):
        imagined = Imagined(model, history, row, planning.context)
        for step, action in enumerate(sequence):
            if step:
                imagined.observe()
            imagined.take(action)
        futures[sequence] = imagined
    return futures


def sequence_of(model, beams, row: int, beam: int) -> tuple:
    return tuple(tuple(step) for step in beams.tokens[row, beam, :, model.layout.action].tolist())


@pytest.mark.parametrize(
    ("columns", "settings", "horizon", "width"),
    [
        (DISCRETE, {"context_length": 6}, 3, 27),
        (DISCRETE, {"context_length": 2}, 3, 27),  # the context fills up within the plan
        (CONTINUOUS, {"context_length": 4, "bins": 3}, 2, 81),
    ],
)
def test_beam_search_equals_exhaustive_search(columns, settings, horizon, width):
    model = make_model(columns, **settings)
    planning = spec(beam_width=width, horizon=horizon, expansion=9)
    history = history_of(model, columns, 2, (0, 1))
    beams = Planner(model, planning).plan(history, PlanNoise([1, 2], 0))
    for row in (0, 1):
        futures = exhaustive(model, history, planning, row)
        assert len(futures) == beams.width == width
        found = [sequence_of(model, beams, row, beam) for beam in range(width)]
        assert set(found) == set(futures)
        expected = [futures[sequence].score for sequence in found]
        np.testing.assert_allclose(beams.scores[row], expected, atol=1e-4)
        assert expected == sorted(expected, reverse=True) or np.diff(expected).max() < 1e-4
        np.testing.assert_allclose(beams.returns[row, 0], futures[found[0]].predicted_return, atol=1e-4)
        np.testing.assert_allclose(beams.alive[row, 0], futures[found[0]].alive, atol=1e-4)


def test_width_one_is_greedy():
    model = make_model(CONTINUOUS, context_length=6)
    greedy = SamplingSpec(top_k=1)
    planning = spec(beam_width=1, horizon=3, expansion=1, actions=greedy)
    history = history_of(model, CONTINUOUS, 2)
    beams = Planner(model, planning).plan(history, PlanNoise([1], 0))
    imagined = Imagined(model, history, 0, planning.context)
    for step in range(3):
        if step:
            imagined.observe()
        action = []
        for dimension in range(model.layout.action.start, model.layout.action.stop):
            action.append(int(imagined.probabilities(dimension).argmax()))
            imagined.present.append(action[-1])
        del imagined.present[-len(action) :]
        imagined.take(tuple(action))
        assert beams.tokens[0, 0, step, model.layout.action].tolist() == action
    assert beams.width == 1
    assert float(beams.scores[0, 0]) == pytest.approx(imagined.score, abs=1e-4)


def test_a_wider_beam_that_holds_all_futures_never_finds_a_worse_one():
    model = make_model(DISCRETE, context_length=6)
    history = history_of(model, DISCRETE, 1, (0, 1, 2))
    best = [
        Planner(model, spec(beam_width=width, horizon=3, expansion=3))
        .plan(history, PlanNoise([1, 2, 3], 0))
        .scores[:, 0]
        for width in (1, 2, 5, 9, 27)
    ]
    for narrow in best[:-1]:
        assert (best[-1] >= narrow - 1e-6).all()
    assert (best[-1] > best[0] + 1e-3).any()


def test_the_plan_of_an_environment_does_not_depend_on_who_else_plans():
    model = make_model(CONTINUOUS, context_length=5)
    history = history_of(model, CONTINUOUS, 3, (0, 1, 2, 3, 4))
    planner = Planner(model, spec(beam_width=6, horizon=6, context=3))
    together = planner.plan(history, PlanNoise([10, 11, 12, 13, 14], 3))
    for row in (0, 3):
        alone = History(history.transitions[row : row + 1], history.observation[row : row + 1])
        single = planner.plan(alone, PlanNoise([10 + row], 3))
        assert torch.equal(single.tokens, together.tokens[row : row + 1])
        assert torch.equal(single.scores, together.scores[row : row + 1])


def test_noise_changes_plans_and_equal_noise_repeats_them():
    model = make_model(CONTINUOUS, bins=20)
    history = history_of(model, CONTINUOUS, 1)
    planner = Planner(model, spec(actions=SamplingSpec(temperature=3.0)))
    first, again, other = (planner.plan(history, PlanNoise([seed], 0)) for seed in (1, 1, 2))
    assert torch.equal(first.tokens, again.tokens)
    assert not torch.equal(first.tokens, other.tokens)


def test_beams_differ_and_the_first_observation_is_the_real_one():
    model = make_model(CONTINUOUS, bins=20)
    history = history_of(model, CONTINUOUS, 2)
    beams = Planner(model, spec(beam_width=16, horizon=2)).plan(history, PlanNoise([5], 0))
    assert len({sequence_of(model, beams, 0, beam) for beam in range(16)}) == 16
    assert (beams.tokens[0, :, 0, model.layout.observation] == history.observation).all()
    assert (beams.scores[:, :-1] >= beams.scores[:, 1:]).all()


def test_filters_that_leave_too_few_actions_mark_futures_that_do_not_exist():
    model = make_model(CONTINUOUS, bins=20, sharpness=60)
    planning = spec(beam_width=12, horizon=2, actions=SamplingSpec(top_p=0.05))
    beams = Planner(model, planning).plan(history_of(model, CONTINUOUS, 1), PlanNoise([5], 0))
    existing = torch.isfinite(beams.scores[0])
    assert 1 <= int(existing.sum()) < 12
    assert existing[: int(existing.sum())].all()


def test_a_likely_ending_lowers_a_future_and_its_value_can_be_chosen():
    model = make_model(DISCRETE, context_length=6)
    model.heads.bias.data[model.layout.value, model.tokenizer().end_token] = 4.0
    history = history_of(model, DISCRETE, 1)
    plain = Planner(model, spec(horizon=3)).plan(history, PlanNoise([1], 0))
    assert (plain.ends > 0.5).all()
    np.testing.assert_allclose(plain.alive, (1 - plain.ends).prod(-1))
    feared = Planner(model, spec(horizon=3, beam_width=27, expansion=3, termination_value=-100.0))
    beams = feared.plan(history, PlanNoise([1], 0))
    discount, ends = model.discount, beams.ends[0, 0]
    before = torch.cat([torch.ones(1), (1 - ends).cumprod(0)[:-1]])
    steps = torch.arange(3)
    earned = (discount**steps * before * beams.rewards[0, 0]).sum()
    feared_ends = (-100 * discount ** (steps + 1) * before * ends)[:-1].sum()
    last = discount**3 * before[-1] * beams.values[0, 0, -1]
    assert float(beams.scores[0, 0]) == pytest.approx(float(earned + feared_ends + last), abs=1e-4)


def test_a_target_chooses_the_future_whose_return_is_nearest():
    model = make_model(DISCRETE, context_length=6)
    history = history_of(model, DISCRETE, 1)
    planning = spec(beam_width=9, expansion=3)
    futures = exhaustive(model, history, planning)
    predicted = np.array([future.predicted_return for future in futures.values()])
    for target in (predicted.min(), np.median(predicted), predicted.max(), 1e6):
        beams = Planner(model, planning).plan(history, PlanNoise([1], 0), np.array([target]))
        assert float(beams.returns[0, 0]) == pytest.approx(predicted[np.abs(predicted - target).argmin()], abs=1e-3)


def test_an_environment_without_a_target_gets_the_best_plan_beside_one_with_a_target():
    model = make_model(DISCRETE, context_length=6)
    history, planner = history_of(model, DISCRETE, 1), Planner(model, spec(beam_width=9, expansion=3))
    best = planner.plan(history, PlanNoise([1], 0))
    free = planner.plan(history, PlanNoise([1], 0), np.array([np.nan]))
    assert torch.equal(free.tokens, best.tokens)
    assert torch.equal(free.scores, best.scores)


def test_bug_03_a_full_context_is_read_again_once_and_at_its_new_positions():
    """The notebook crops on every token after the first crop, and its positions shift under what is cached."""
    model = make_model(DISCRETE, context_length=4)
    calls = []
    planner = Planner(model, spec(beam_width=3, horizon=7, context=3))
    restart = planner._restart
    planner._restart = lambda *arguments: calls.append(arguments[2].tokens.shape[2]) or restart(*arguments)
    beams = planner.plan(history_of(model, DISCRETE, 3), PlanNoise([1], 0))
    assert calls == [2, 4, 6]  # two imagined steps fill it; then every second one, with half of it kept
    imagined = Imagined(model, history_of(model, DISCRETE, 3), 0, 3)
    for step in range(7):
        if step:
            imagined.observe()
            assert imagined.present == beams.tokens[0, 0, step, model.layout.observation].tolist()
        imagined.take(sequence_of(model, beams, 0, 0)[step])
    assert float(beams.scores[0, 0]) == pytest.approx(imagined.score, abs=1e-4)


def test_a_plan_that_fits_with_less_history_takes_less():
    model = make_model(DISCRETE, context_length=4)
    planner = Planner(model, spec(beam_width=3, horizon=3, context=4))
    planner._restart = lambda *arguments: pytest.fail("the plan fits from two transitions on")
    planned = planner.plan(history_of(model, DISCRETE, 3), PlanNoise([1], 0))
    shorter = Planner(model, spec(beam_width=3, horizon=3, context=2))
    assert torch.equal(planned.scores, shorter.plan(history_of(model, DISCRETE, 3), PlanNoise([1], 0)).scores)


def test_sampling_without_planning_draws_from_the_models_probabilities():
    model = make_model(DISCRETE, sharpness=4)
    planner = Planner(model, spec())
    history = history_of(model, DISCRETE, 2)
    many = History(history.transitions.expand(3000, -1, -1), history.observation.expand(3000, -1))
    tokens = planner.sample(many, PlanNoise(range(3000), 0))
    expected = Imagined(model, history, 0, 2).probabilities(model.layout.action.start)
    np.testing.assert_allclose(planner.action_probabilities(history)[0], expected, atol=1e-5)
    shares = np.bincount(tokens[:, 0], minlength=5) / 3000
    np.testing.assert_allclose(shares, expected, atol=0.03)


def test_a_context_that_the_model_cannot_see_is_refused():
    model = make_model(DISCRETE, context_length=3)
    with pytest.raises(ValueError, match="context is 5 but the model sees 3 transitions; choose at most 3"):
        check_planning(spec(context=5), model.spec)
    with pytest.raises(ValueError, match="context is 5"):
        Planner(model, spec(context=5))
