"""frontier_mini for transformers, so that make_seeded.py can make golden values of it: Qwen2 whose attention is normalised by the
`entmax` package's functions (entmax 1.3, of the authors of Peters et al. 2019), and whose queries are scaled as the authors of
ASEntmax do (deep-spin/asentmax be54bd3, synthetic/src/models/architectures/sparse_gemma.py, _apply_length_scaling). Importing it
registers the classes."""
import torch
import transformers
from entmax import entmax15, entmax_bisect
from torch import nn
from transformers.models.qwen2 import modeling_qwen2 as qwen2


class FrontierMiniConfig(transformers.Qwen2Config):
    model_type = "frontier_mini"

    def __init__(self, entmax_alpha=1.5, attn_scale_type=None, attn_scale_delta=1.0, attn_scale_gamma_range=2.0, **k):
        super().__init__(**k)
        self.entmax_alpha, self.attn_scale_type = entmax_alpha, attn_scale_type
        self.attn_scale_delta, self.attn_scale_gamma_range = attn_scale_delta, attn_scale_gamma_range


class Attention(qwen2.Qwen2Attention):
    def __init__(self, config, layer_idx):
        super().__init__(config, layer_idx)
        if config.attn_scale_type:
            self.attn_scale_beta_proj = nn.Linear(config.hidden_size, config.num_attention_heads, bias=False)
            self.attn_scale_gamma_proj = nn.Linear(config.hidden_size, config.num_attention_heads, bias=False)

    def forward(self, hidden_states, position_embeddings, attention_mask=None, cache=None, **k):
        rows, tokens, _ = hidden_states.shape
        q, key, v = (p(hidden_states).view(rows, tokens, -1, self.head_dim).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj))
        q, key = qwen2.apply_rotary_pos_emb(q, key, *position_embeddings)
        if cache is not None:
            key, v = cache.update(key, v, self.layer_idx)
        keys = key.shape[2]
        if self.config.attn_scale_type:
            beta = nn.functional.softplus(self.attn_scale_beta_proj(hidden_states)).transpose(1, 2)[..., None]
            gamma = self.config.attn_scale_gamma_range * torch.tanh(self.attn_scale_gamma_proj(hidden_states)).transpose(1, 2)[..., None]
            length = torch.log(torch.arange(2, keys + 2, dtype=q.dtype))[keys - tokens:, None]
            q = q * (self.config.attn_scale_delta + beta * length**gamma)
        key, v = qwen2.repeat_kv(key, self.num_key_value_groups), qwen2.repeat_kv(v, self.num_key_value_groups)
        logits = q @ key.transpose(2, 3) * self.scaling
        unseen = torch.ones(tokens, keys, dtype=torch.bool).triu(keys - tokens + 1)
        logits = logits.masked_fill(unseen, float("-inf"))
        alpha = self.config.entmax_alpha
        p = entmax15(logits, -1) if alpha == 1.5 else entmax_bisect(logits, alpha, -1, n_iter=60)
        return self.o_proj((p @ v).transpose(1, 2).reshape(rows, tokens, -1)), p


class FrontierMiniForCausalLM(transformers.Qwen2ForCausalLM):
    config_class = FrontierMiniConfig

    def __init__(self, config):
        super().__init__(config)
        for i, layer in enumerate(self.model.layers):
            layer.self_attn = Attention(config, i)
        self.post_init()


transformers.AutoConfig.register("frontier_mini", FrontierMiniConfig)
transformers.AutoModelForCausalLM.register(FrontierMiniConfig, FrontierMiniForCausalLM)
transformers.FrontierMiniConfig, transformers.FrontierMiniForCausalLM = FrontierMiniConfig, FrontierMiniForCausalLM
