"""Decision Transformer (Chen et al. 2021, https://arxiv.org/abs/2106.01345) and behaviour cloning.

A step is three tokens, (return-to-go, observation, action), all carrying the embedding of the step's absolute timestep.
The action is read off at the observation token, which sees the request and the observation of its own step but not its
action. Behaviour cloning is the same network without the return tokens. The last action of a window is seen by nothing
that is read off, so it is left out.

The weights map to Hugging Face's ``DecisionTransformerModel``, which adds one constant vector (``wpe[0]``) to every
token after ``embed_ln``: it belongs into the bias of `embed_norm`.

Shape suffixes: B batch, L steps of context, T tokens, D embedding, N rows acting, O outputs of the head.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import torch
from torch import Tensor

from seqrl.config import BehaviourCloningSpec, DatasetFacts, DecisionTransformerSpec
from seqrl.models.acting import ActingState, padded_rows
from seqrl.models.action_model import ActionModel, largest_return
from seqrl.models.embeddings import BoxEmbedding, CategoryEmbedding, ImageEmbedding, NumberEmbedding
from seqrl.models.heads import make_head
from seqrl.models.layers import DropoutNoise, Embedding, LayerNorm, Linear
from seqrl.models.return_head import ReturnHead
from seqrl.models.transformer import CausalTransformer
from seqrl.store.columns import Columns
from seqrl.windows import WindowBatch, Windows, returns_to_go, top_episodes


class ActionTransformer(ActionModel):
    """What Decision Transformer and behaviour cloning share; see the module's docstring.

    Raw observations, actions and returns go in: the statistics that normalise them are buffers, so that they travel
    with the weights.

    Args:
        spec: settings.
        facts: the dataset's spaces, statistics and lengths.

    Raises:
        ValueError: if the head does not fit the actions.
    """

    tokens_per_step: int

    def __init__(self, spec: DecisionTransformerSpec | BehaviourCloningSpec, facts: DatasetFacts) -> None:
        super().__init__(spec, facts)
        width, mlp = spec.embedding_dim, spec.embedding == "mlp"
        self.context_length = spec.context_length
        self.max_timestep = spec.max_timestep or max(facts.max_episode_steps or 0, facts.max_length)
        self.dropout = spec.dropout
        self.embed_observation: NumberEmbedding | ImageEmbedding
        if facts.observation.kind == "image":
            self.embed_observation = ImageEmbedding(facts.observation.shape, width)
        else:
            self.embed_observation = NumberEmbedding(facts.observation.size, width, mlp=mlp)
        self.embed_action: CategoryEmbedding | BoxEmbedding
        if facts.action.kind == "box":
            self.embed_action = BoxEmbedding(facts.action, width, mlp=mlp)
        else:
            self.embed_action = CategoryEmbedding(facts.action, width)
        self.embed_timestep = Embedding(self.max_timestep, width)
        self.embed_norm = LayerNorm(width)
        self.transformer = CausalTransformer(
            width=width,
            layers=spec.layers,
            heads=spec.heads,
            activation=spec.activation,
            hidden=spec.feedforward_dim,
        )
        self.head = make_head(spec.action_head, facts.action)
        self.predict_action = Linear(width, self.head.outputs)

    @classmethod
    def eligible_episodes(cls, spec: DecisionTransformerSpec | BehaviourCloningSpec, columns: Columns) -> np.ndarray:
        """All episodes; for %BC the best by undiscounted return."""
        fraction = spec.top_fraction if isinstance(spec, BehaviourCloningSpec) else 1.0
        return top_episodes(columns.spans["achieved_return"], fraction)

    def batches(self, columns: Columns, episodes: np.ndarray) -> Windows:
        """Training windows of these episodes."""
        return Windows(columns, self.context_length, discount=self.discount, episodes=episodes)

    def reset(self, generator: torch.Generator) -> None:
        """Fresh weights from the generator."""
        self.embed_observation.reset(generator)
        self.embed_action.reset(generator)
        self.embed_timestep.reset(generator, 0.5)
        self.transformer.reset(generator)
        self.predict_action.reset(generator, 0.02)

    # --- whole windows -----------------------------------------------------------------------------

    def loss(
        self, batch: WindowBatch, *, noise: DropoutNoise | None = None, compute: torch.dtype = torch.float32
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean loss over the real steps of a batch, and measures of fit.

        Args:
            batch: windows; what padded steps hold changes nothing.
            noise: dropout of this update; None for validation.
            compute: number format of the transformer's blocks.

        Returns:
            Scalar loss and scalars by name ("accuracy" for discrete, "action_error" for continuous actions).
        """
        outputs_BLO = self.forward(batch, noise=noise, compute=compute)
        return self.head.loss(outputs_BLO.flatten(0, 1), batch.actions.flatten(0, 1), batch.mask.flatten())

    def forward(
        self,
        batch: WindowBatch,
        *,
        noise: DropoutNoise | None = None,
        compute: torch.dtype = torch.float32,
        seen: list[Tensor] | None = None,
    ) -> Tensor:
        """Outputs of the head at every step: (B, L, O) float32. ``seen`` receives the attention weights."""
        x_BTD = self._embed(batch.observations, batch.actions, batch.returns_to_go, batch.timesteps)
        state_tokens = slice(self.tokens_per_step - 2, None, self.tokens_per_step)
        x_BLD = self.transformer(x_BTD.to(compute), queries=state_tokens, noise=noise, seen=seen)
        return self.predict_action(x_BLD.float())

    def embedding_norms(self, batch: WindowBatch) -> dict[str, float]:
        """Mean length of the real steps' tokens before they are normalised, by token type."""
        with torch.inference_mode():
            tokens = self._tokens(batch.observations, batch.actions, batch.returns_to_go)
            return {name: float(token[batch.mask].norm(dim=-1).mean()) for name, token in tokens.items()}

    def _request(self, observations: Tensor, returns_to_go: Tensor) -> dict[str, Tensor]:
        """The tokens of a step that come before its action: name → (B, L, D), the observation last."""
        return {"observation": self.embed_observation(self.normalise(observations))}

    def _tokens(self, observations: Tensor, actions: Tensor, returns_to_go: Tensor) -> dict[str, Tensor]:
        """All tokens of a step in their order: name → (B, L, D)."""
        return {**self._request(observations, returns_to_go), "action": self.embed_action(actions)}

    def _embed(self, observations: Tensor, actions: Tensor, returns_to_go: Tensor, timesteps: Tensor) -> Tensor:
        """All tokens of a window but its last action: (B, T, D) with T = tokens per step * L - 1."""
        tokens = torch.stack(list(self._tokens(observations, actions, returns_to_go).values()), dim=2)
        tokens = tokens + self.embed_timestep(timesteps)[:, :, None]
        return self.embed_norm(tokens.flatten(1, 2)[:, :-1])

    # --- acting ------------------------------------------------------------------------------------

    def begin(self, n_rows: int, max_context: int | None = None, compute: torch.dtype = torch.float32) -> ActingState:
        """Empty contexts for episodes that act in lock step: all are at the same timestep.

        Args:
            n_rows: N, number of episodes.
            max_context: steps of context, at most the training's K (None).
            compute: number format of the transformer's blocks.
        """
        steps = min(max_context or self.context_length, self.context_length)
        cache = self.transformer.new_cache(padded_rows(n_rows), self.tokens_per_step * steps, compute)
        return ActingState(cache, torch.arange(n_rows), steps)

    def act_logits(
        self,
        observations: Tensor,
        actions: Tensor,
        returns_to_go: Tensor,
        timesteps: Tensor,
        compute: torch.dtype = torch.float32,
    ) -> Tensor:
        """What the head says at the last step of a window, recomputed from nothing: see `ActionHead.decode`.

        Args:
            observations: (N, L, *observation), the last one being the one to act on; L at most K.
            actions: (N, L - 1, ...), the actions in between.
            returns_to_go: (N, L) reward units.
            timesteps: (L,) int64, the same for all rows.
            compute: number format of the transformer's blocks.
        """
        count = len(observations)
        rows = torch.arange(padded_rows(count)).clamp(max=count - 1)
        x_BTD = self._embed_history(observations[rows], actions[rows], returns_to_go[rows], timesteps)
        x_BD = self.transformer(x_BTD.to(compute), queries=slice(-1, None))[:, 0]
        return self.head.decode(self.predict_action(x_BD.float()))[:count]

    def prefill(
        self, state: ActingState, observations: Tensor, actions: Tensor, returns_to_go: Tensor, timesteps: Tensor
    ) -> Tensor:
        """Start the context again with these steps, and say what the head says at the last one.

        The arguments are those of `act_logits`. Acting with a cache prefills the last P steps when the context is full,
        decodes to K, and so on: it only ever uses context lengths that training has seen.
        """
        state.compact()
        state.cache.clear()
        state.steps = observations.shape[1]
        observations, actions, returns_to_go = map(state.spread, (observations, actions, returns_to_go))
        x_BTD = self._embed_history(observations, actions, returns_to_go, timesteps)
        return self._act(state, x_BTD)

    def step(
        self,
        state: ActingState,
        observation: Tensor,
        return_to_go: Tensor,
        previous_action: Tensor | None,
        timestep: int,
    ) -> Tensor:
        """Add one step to the context, and say what the head says there: see `ActionHead.decode`.

        Args:
            state: the context; grows by a step.
            observation: (N, *observation).
            return_to_go: (N,) reward units.
            previous_action: (N, ...) taken at ``timestep - 1``; ignored in an empty context.
            timestep: steps since the episodes began.

        Raises:
            ValueError: if the context is full, or the timestep has no embedding.
        """
        if state.is_full:
            raise ValueError(f"the context holds {state.steps} steps, which is all that fit; prefill it first")
        self._check_timestep(timestep)
        observation, return_to_go = state.spread(observation)[:, None], state.spread(return_to_go)[:, None]
        action = state.spread(previous_action)[:, None] if previous_action is not None and state.steps else None
        x_BTD = self._embed_step(observation, return_to_go, action, timestep)
        state.steps += 1
        return self._act(state, x_BTD)

    def _act(self, state: ActingState, x_BTD: Tensor) -> Tensor:
        x_BTD = x_BTD.to(state.cache.held.dtype)
        x_BD = self.transformer.extend(x_BTD, state.cache, queries=slice(-1, None))[:, 0]
        return self.head.decode(self.predict_action(x_BD.float()))[state.slots]

    def _embed_history(self, observations: Tensor, actions: Tensor, returns_to_go: Tensor, timesteps: Tensor) -> Tensor:
        self._check_timestep(int(timesteps[-1]))
        actions = torch.cat([actions, actions.new_zeros((len(actions), 1, *actions.shape[2:]))], dim=1)
        return self._embed(observations, actions, returns_to_go, timesteps[None])

    def _embed_step(self, observation: Tensor, return_to_go: Tensor, action: Tensor | None, timestep: int) -> Tensor:
        """The previous action's token, if there is one, and the tokens of this step: (B, T, D)."""
        time = self.embed_timestep.weight
        tokens = [token + time[timestep] for token in self._request(observation, return_to_go).values()]
        if action is not None:
            tokens.insert(0, self.embed_action(action) + time[timestep - 1])
        return self.embed_norm(torch.cat(tokens, dim=1))

    def _check_timestep(self, timestep: int) -> None:
        if timestep >= self.max_timestep:
            raise ValueError(
                f"timestep is {timestep} but the model knows {self.max_timestep}; train with a larger max_timestep"
            )


class DecisionTransformer(ActionTransformer):
    """Listens to a target return: tokens (return-to-go, observation, action).

    With ``conditioning`` "goal" it listens to a goal instead, which the observations name: tokens (goal, observation,
    action), where the observation's own token does not see the goal.

    Attributes:
        discount: of the returns-to-go it was trained on; while acting, ``R_{t+1} = (R_t - r_t) / discount``.
        return_scale: returns-to-go are divided by this before they are embedded, reward units.
        return_head: learns which returns are attainable, None without one.
    """

    tokens_per_step = 3
    return_scale: Tensor
    seen: Tensor

    def __init__(self, spec: DecisionTransformerSpec, facts: DatasetFacts) -> None:
        super().__init__(spec, facts)
        self.conditioned = spec.conditioning == "return"
        self.discount = spec.discount
        self.rtg_gain = spec.rtg_gain
        self.register_buffer("return_scale", torch.tensor(spec.return_scale or largest_return(facts, spec.discount)))
        self.goal: list[int] = []
        if not self.conditioned:
            if facts.observation.goal is None:
                raise ValueError("conditioning is goal but the observations of this dataset name none; choose return")
            self.goal = list(facts.observation.goal.desired)
        seen = torch.ones(facts.observation.size)
        seen[self.goal] = 0.0
        self.register_buffer("seen", seen, persistent=False)
        self.embed_return = NumberEmbedding(max(len(self.goal), 1), spec.embedding_dim, mlp=spec.embedding == "mlp")
        self.return_head: ReturnHead | None = None
        if spec.return_head != "none":
            size = facts.observation.size
            self.return_head = ReturnHead(spec.return_head, size, self.max_timestep, spec.return_expectile)

    @classmethod
    def from_columns(cls, spec: DecisionTransformerSpec, columns: Columns, episodes: np.ndarray, seed: int) -> Self:
        """A model with fresh weights for a dataset; a return head knows the returns-to-go of ``episodes``."""
        model = super().from_columns(spec, columns, episodes, seed)
        if model.return_head is not None:
            ends = columns.spans["end"]
            every = returns_to_go(columns.rewards[: columns.steps], ends, spec.discount)
            learnt = np.isin(np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0)), episodes)
            model.return_head.set_span(float(every[learnt].min()), float(every[learnt].max()))
        return model

    def reset(self, generator: torch.Generator) -> None:
        """Fresh weights from the generator."""
        super().reset(generator)
        self.embed_return.reset(generator)
        if self.return_head is not None:
            self.return_head.reset(generator)

    def loss(
        self, batch: WindowBatch, *, noise: DropoutNoise | None = None, compute: torch.dtype = torch.float32
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The actions' loss, see `ActionTransformer.loss`; a return head adds its own, and both are told apart."""
        loss, measures = super().loss(batch, noise=noise, compute=compute)
        if self.return_head is None:
            return loss, measures
        real = batch.mask
        observations_NO = self.normalise(batch.observations[real]).flatten(1)
        return_loss = self.return_head.loss(observations_NO, batch.timesteps[real], batch.returns_to_go[real])
        told_apart = {"action_loss": loss.detach(), "return_loss": return_loss.detach()}
        return loss + return_loss, measures | told_apart

    def choose_return(self, observations: Tensor, timestep: int, optimism: float) -> Tensor:
        """What to ask for in each of these states: see `ReturnHead.choose`.

        Args:
            observations: (N, *observation).
            timestep: steps since the episodes began.
            optimism: see `ReturnHead.choose`.

        Raises:
            ValueError: if the model has no return head.
        """
        if self.return_head is None:
            raise ValueError("the model has no return head; train it with return_head bins")
        return self.return_head.choose(self.normalise(observations).flatten(1), timestep, optimism)

    def _request(self, observations: Tensor, returns_to_go: Tensor) -> dict[str, Tensor]:
        if self.goal:
            normalised = self.normalise(observations)
            return {
                "goal": self.rtg_gain * self.embed_return(normalised[..., self.goal]),
                "observation": self.embed_observation(normalised * self.seen),
            }
        scaled = (returns_to_go / self.return_scale)[..., None]
        return {
            "return": self.rtg_gain * self.embed_return(scaled),
            **super()._request(observations, returns_to_go),
        }


class BehaviourCloning(ActionTransformer):
    """Hears no return: tokens (observation, action). The best-episodes variant (%BC) differs in its data only."""

    tokens_per_step = 2
    conditioned = False
    discount = 1.0
