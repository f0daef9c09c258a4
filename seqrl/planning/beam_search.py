"""Beam search with a Trajectory Transformer (Janner et al. 2021, section 3.2).

Every beam is an imagined future. At each step of the horizon every beam tries several different actions, the model
imagines reward, value and next observation, and the beams with the best scores survive. After h steps the score is

    sum_{k < h} discount^k S_k E[r_k]  +  discount^h S_{h-1} E[V]

with expectations over bins and ``S_k`` the probability that the future has not terminated before step k. The value of
an ending is ``termination_value`` (0: nothing comes after it); a time limit is not an ending.

With a target return the score is replaced by minus the distance between the target and the predicted return: the
undiscounted rewards imagined so far and the mean undiscounted return that followed such a value in the data.

Shape suffixes: N environments, M beams of an environment, C candidates of an environment, R rows (N * M or N * C),
H steps imagined so far, D tokens of a transition, P = D - 1 without the value, E embedding, W bins.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from seqrl.config import PlanningSpec, SamplingSpec, check_planning
from seqrl.models.beam_decoder import BeamDecoder, Workspace, padded_linear
from seqrl.models.trajectory_transformer import TrajectoryTransformer
from seqrl.planning.sampling import PlanNoise, draw, draw_distinct, sampling_log_probabilities


@dataclass(frozen=True)
class Beams:
    """Imagined futures of N environments, M each, after H steps.

    Attributes:
        tokens: (N, M, H, D) int64; the observation of the first step is the real one. The value is the likeliest.
        rewards: (N, M, H) expected reward of each step, reward units.
        values: (N, M, H) expected discounted rewards after each step, reward units.
        ends: (N, M, H) probability that the episode terminates with each step, given that it came so far.
        discounted: (N, M) discounted rewards so far, weighted with the probability of being alive.
        undiscounted: (N, M) the same without discount.
        alive: (N, M) probability of having come so far.
        scores: (N, M) what the beams are ranked by, best first; minus infinity for one that does not exist.
        returns: (N, M) predicted undiscounted return from here on, reward units.
    """

    tokens: Tensor
    rewards: Tensor
    values: Tensor
    ends: Tensor
    discounted: Tensor
    undiscounted: Tensor
    alive: Tensor
    scores: Tensor
    returns: Tensor

    @classmethod
    def start(cls, observation_NO: Tensor, dimensions: int) -> Self:
        """One future that has not begun, for every environment."""
        count = len(observation_NO)
        nothing, zero = torch.zeros(count, 1, 0, dtype=torch.float64), torch.zeros(count, 1, dtype=torch.float64)
        tokens = torch.zeros(count, 1, 0, dimensions, dtype=torch.int64)
        return cls(tokens, nothing, nothing, nothing, zero, zero, zero + 1, zero, zero)

    @property
    def width(self) -> int:
        """Futures of every environment (M)."""
        return self.scores.shape[1]

    def take(self, index_NM: Tensor) -> Self:
        """Some of the futures of every environment."""
        rows = torch.arange(len(index_NM))[:, None]
        return replace(self, **{item.name: getattr(self, item.name)[rows, index_NM] for item in fields(self)})

    def environments(self, rows: Tensor) -> Self:
        """All futures of some environments."""
        return replace(self, **{item.name: getattr(self, item.name)[rows] for item in fields(self)})

    def extend(self, children: int) -> Self:
        """Every future ``children`` times."""
        return replace(
            self, **{item.name: getattr(self, item.name).repeat_interleave(children, dim=1) for item in fields(self)}
        )


@dataclass(frozen=True)
class History:
    """What N environments have seen, as tokens.

    Attributes:
        transitions: (N, C, P) int64, complete transitions before now, values left out; C the same for all.
        observation: (N, O) int64, the present observation.
    """

    transitions: Tensor
    observation: Tensor

    def prefix(self, most: int) -> tuple[Tensor, int]:
        """Tokens (N, T) of the last transitions and the present, and the number of complete ones: below ``most``."""
        recent = self.transitions[:, max(0, self.transitions.shape[1] - most + 1) :]
        return torch.cat([recent.flatten(1), self.observation], dim=1), recent.shape[1]


class Planner:
    """Plans for any number of environments at once.

    Args:
        model: a trained Trajectory Transformer.
        planning: settings.

    Raises:
        ValueError: if the model cannot make such plans.
    """

    def __init__(self, model: TrajectoryTransformer, planning: PlanningSpec) -> None:
        check_planning(planning, model.spec)
        self.model, self.planning = model, planning
        tokenizer = model.tokenizer()
        layout = self.layout = tokenizer.layout
        self.end_token = tokenizer.end_token
        counts = tokenizer.vocabulary[layout.action]
        self.action_counts = [int(min(count, planning.actions.top_k or count)) for count in counts]
        self._workspace = Workspace()
        self._head_weight, self._head_bias = (
            model.heads.weight.detach(),
            (model.heads.bias + model.vocabulary_bias()).detach(),
        )
        self._reward_table = torch.from_numpy(tokenizer.bins.values[layout.reward])
        values = tokenizer.bins.values[layout.value].copy()
        values[self.end_token :] = 0.0
        self._value_table = torch.from_numpy(values)
        self._value_table[self.end_token] = planning.termination_value
        self._return_table = torch.from_numpy(tokenizer.value_returns.copy())

    @torch.inference_mode()
    def plan(self, history: History, noise: PlanNoise, remaining: np.ndarray | None = None) -> Beams:
        """Search from the present on.

        Args:
            history: what the environments have seen.
            noise: of this decision, for the same environments.
            remaining: (N,) the undiscounted return to come that is asked for, reward units; None or NaN for the best.

        Returns:
            The surviving futures, the best first.
        """
        target = None if remaining is None else torch.from_numpy(np.asarray(remaining, dtype=np.float64))[:, None]
        decoder = BeamDecoder(self.model.transformer, self._workspace)
        prefix, place = history.prefix(self.past)
        state_RE = decoder.start(self.model.embed(prefix))
        beams = Beams.start(history.observation, len(self.layout))
        observation_RO = history.observation
        for step in range(self.planning.horizon):
            beams, state_RE, rows = self._imagine_step(decoder, state_RE, beams, observation_RO, place, noise, target)
            if step + 1 == self.planning.horizon:
                return beams
            place += 1
            if place < self.model.context_length:
                decoder.merge(rows, len(prefix), self.layout.observation.stop)
                state_RE = state_RE[rows]
            else:
                state_RE, place = self._restart(decoder, history, beams)
            observation_RO, state_RE = self._imagine_observation(decoder, state_RE, beams, place, noise)
        return beams

    @torch.inference_mode()
    def sample(self, history: History, noise: PlanNoise) -> Tensor:
        """Action tokens drawn from the model without planning: (N, A) int64."""
        decoder = BeamDecoder(self.model.transformer, self._workspace)
        prefix, place = history.prefix(self.planning.context)
        state_RE = decoder.start(self.model.embed(prefix))
        decoder.branch(1, len(self.action_counts))
        tokens = []
        for dimension in range(self.layout.action.start, self.layout.action.stop):
            uniforms = None if self.planning.actions.top_k == 1 else noise.uniforms(1)[:, 0]
            tokens.append(draw(self._logits(state_RE, dimension), self.planning.actions, uniforms))
            state_RE = decoder.step(self._embed(tokens[-1], dimension, place))
        return torch.stack(tokens, dim=1)

    @torch.inference_mode()
    def action_probabilities(self, history: History) -> Tensor:
        """Probabilities of the first action token: (N, W)."""
        prefix, _ = history.prefix(self.planning.context)
        state_NE = BeamDecoder(self.model.transformer, self._workspace).start(self.model.embed(prefix))
        return self._logits(state_NE, self.layout.action.start).softmax(-1)

    @property
    def past(self) -> int:
        """Transitions that a plan starts from: fewer than asked for where the whole plan then fits into the context.

        A plan that fills the context reads half of it again and plans worse: on Pendulum, with 10 transitions and a
        horizon of 8, beams of 8 reached -253 from five transitions of history and -196 from three.
        """
        fitting = self.model.context_length - self.planning.horizon + 1
        return min(self.planning.context, fitting) if fitting > 0 else self.planning.context

    # --- one step of the horizon -----------------------------------------------------------------------

    def _imagine_step(
        self,
        decoder: BeamDecoder,
        state_RE: Tensor,
        beams: Beams,
        observation_RO: Tensor,
        place: int,
        noise: PlanNoise,
        target: Tensor | None,
    ) -> tuple[Beams, Tensor, Tensor]:
        """Try actions, imagine their reward and value, keep the best: beams, states of all candidates, rows kept."""
        count, width = beams.scores.shape
        action_RA, possible, state_RE = self._try_actions(decoder, state_RE, count, place, noise)
        children = len(action_RA) // (count * width)
        reward_logits = self._logits(state_RE, self.layout.reward)
        uniforms = self._uniforms(noise, self.planning.rewards, width * children)
        reward_R = draw(reward_logits, self.planning.rewards, uniforms)
        state_RE = decoder.step(self._embed(reward_R, self.layout.reward, place))
        value_logits = self._logits(state_RE, self.layout.value)
        value_R = value_logits.argmax(-1)
        observation_RO = observation_RO.repeat_interleave(len(action_RA) // len(observation_RO), dim=0)
        tokens_RD = torch.cat([observation_RO, action_RA, reward_R[:, None], value_R[:, None]], dim=1)
        grown = self._score(beams.extend(children), tokens_RD, reward_logits, value_logits, possible, target)
        kept = min(self.planning.beam_width, grown.width)
        index_NM = grown.scores.argsort(dim=1, descending=True, stable=True)[:, :kept]
        rows = (torch.arange(count)[:, None] * grown.width + index_NM).flatten()
        return grown.take(index_NM), state_RE, rows

    def _try_actions(
        self, decoder: BeamDecoder, state_RE: Tensor, count: int, place: int, noise: PlanNoise
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Different actions of every beam: tokens (R', A), whether each exists (R',), and the states after them."""
        rows, width = len(state_RE), len(state_RE) // count
        wanted = max(1, self.planning.beam_width * self.planning.expansion // width)
        total = perturbed = torch.zeros(rows, 1)
        tokens_RCA = torch.zeros(rows, 1, 0, dtype=torch.int64)
        first = self.layout.action.start
        for dimension, choices in enumerate(self.action_counts, first):
            partial = total.shape[1]
            log_probabilities = sampling_log_probabilities(self._logits(state_RE, dimension), self.planning.actions)
            kept = min(wanted, partial * choices)
            gumbel = self._gumbel(noise, width * partial).view(rows, partial, -1)
            index, total, perturbed = draw_distinct(
                log_probabilities.view(rows, partial, -1), total, perturbed, gumbel, kept
            )
            source, token_RC = index // self.model.bins, index % self.model.bins
            earlier = tokens_RCA.gather(1, source[..., None].expand(-1, -1, tokens_RCA.shape[2]))
            tokens_RCA = torch.cat([earlier, token_RC[..., None]], dim=2)
            if dimension == first:
                decoder.branch(kept, len(self.action_counts) + 1)
            else:
                decoder.choose((torch.arange(rows)[:, None] * partial + source).flatten())
            state_RE = decoder.step(self._embed(token_RC.flatten(), dimension, place))
        return tokens_RCA.flatten(0, 1), torch.isfinite(perturbed).flatten(), state_RE

    def _imagine_observation(
        self, decoder: BeamDecoder, state_RE: Tensor, beams: Beams, place: int, noise: PlanNoise
    ) -> tuple[Tensor, Tensor]:
        """The next observation of every beam, (R, O), and the states after it."""
        tokens = []
        for dimension in range(self.layout.observation.stop):
            uniforms = self._uniforms(noise, self.planning.observations, beams.width)
            tokens.append(draw(self._logits(state_RE, dimension), self.planning.observations, uniforms))
            state_RE = decoder.step(self._embed(tokens[-1], dimension, place))
        return torch.stack(tokens, dim=1), state_RE

    def _score(
        self,
        beams: Beams,
        tokens_RD: Tensor,
        reward_logits: Tensor,
        value_logits: Tensor,
        possible: Tensor,
        target: Tensor | None,
    ) -> Beams:
        """The candidates with one more step, and what they are worth."""
        shape = beams.scores.shape
        reward = (reward_logits.double().softmax(-1) @ self._reward_table).view(shape)
        value_NCW = value_logits.double().softmax(-1).view(*shape, -1)
        end = value_NCW[..., self.end_token]
        value = value_NCW @ self._value_table
        step, discount = beams.rewards.shape[2], self.model.discount
        discounted = beams.discounted + discount**step * beams.alive * reward
        undiscounted = beams.undiscounted + beams.alive * reward
        scores = discounted + discount ** (step + 1) * beams.alive * value
        returns = undiscounted + beams.alive * (value_NCW @ self._return_table)
        if target is not None:
            scores = torch.where(torch.isnan(target), scores, -(returns - target).abs())
        ending = discount ** (step + 1) * beams.alive * end * self.planning.termination_value
        return Beams(
            tokens=torch.cat([beams.tokens, tokens_RD.view(*shape, 1, -1)], dim=2),
            rewards=torch.cat([beams.rewards, reward[..., None]], dim=2),
            values=torch.cat([beams.values, value[..., None]], dim=2),
            ends=torch.cat([beams.ends, end[..., None]], dim=2),
            discounted=discounted + ending,
            undiscounted=undiscounted,
            alive=beams.alive * (1 - end),
            scores=scores.masked_fill(~possible.view(shape) | torch.isneginf(beams.scores), -torch.inf),
            returns=returns,
        )

    def _restart(self, decoder: BeamDecoder, history: History, beams: Beams) -> tuple[Tensor, int]:
        """The context is full: read the last half of it again, at the positions it now has.

        Learned positions belong to places in the context, so the cache cannot slide.
        """
        kept = max(1, self.model.context_length // 2)
        imagined = beams.tokens[..., :-1]
        past = history.transitions[:, None].expand(-1, beams.width, -1, -1)
        present = torch.cat([past, imagined], dim=2)[:, :, -kept:]
        state_RE = decoder.start(self.model.embed(present.flatten(0, 1).flatten(1)))
        decoder.branch(1, self.layout.observation.stop)
        return state_RE, present.shape[2]

    # --- tokens and noise ------------------------------------------------------------------------------

    def _logits(self, state_RE: Tensor, dimension: int) -> Tensor:
        """Logits of one dimension, (R, W); minus infinity for tokens that it does not have."""
        return padded_linear(state_RE, self._head_weight[dimension], self._head_bias[dimension])

    def _embed(self, token_R: Tensor, dimension: int, place: int) -> Tensor:
        """Embeddings of one token a row at ``dimension`` of transition ``place``: (R, E)."""
        return self.model.embed(token_R[:, None], place * self.model.positions + dimension)[:, 0]

    def _uniforms(self, noise: PlanNoise, sampling: SamplingSpec, width: int) -> Tensor | None:
        return None if sampling.top_k == 1 else noise.uniforms(width).flatten()

    def _gumbel(self, noise: PlanNoise, width: int) -> Tensor:
        return noise.gumbel(width, self.model.bins)
