"""Labels in state dicts that say what each tensor of a state contains, compared when one is loaded."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from betaplane import rules
from betaplane.errors import BadInput
from betaplane.optim.step.stored_state import STATE
from betaplane.rules import Rule

# the key in a saved group; torch's load_state_dict keeps it and does not read it
LABEL = "betaplane"
Contents = dict[str, str]  # state key -> what the tensor contains

TORCH_STATE_KEYS = {  # the state keys of torch's classes by rule; the rest are those in STATE
    rules.SGD: {"b": "momentum_buffer"},
    rules.Adagrad: {"v": "sum"},
    rules.RMSprop: {"v": "square_avg", "g_bar": "grad_avg", "b": "momentum_buffer"},
    rules.Adamax: {"u": "exp_inf"},
    rules.NAdam: {"c": "mu_product"},
    rules.Adafactor: {"r": "row_var", "c": "col_var", "v": "variance"},
}
BY_STATE_KEY = {  # a key that only this rule's state has; the first match is used
    "square_avg": rules.RMSprop,
    "sum": rules.Adagrad,
    "exp_inf": rules.Adamax,
    "u": rules.Adamax,
    "mu_product": rules.NAdam,
    "row_var": rules.Adafactor,
    "col_var": rules.Adafactor,
    "variance": rules.Adafactor,
    "momentum_buffer": rules.SGD,
    "h": rules.Sophia,
    "m1": rules.AdEMAMix,
    "m2": rules.AdEMAMix,
    "n": rules.Adan,
    "d": rules.Adan,
    "g_prev": rules.Adan,
    "max_exp_avg_sq": rules.AMSGrad,
}
BY_OPTION = {  # an option of a group that shows whose exp_avg and exp_avg_sq these are
    "rectify": rules.AdaBelief,
    "lr_at": rules.LaProp,
    "growth": rules.ADOPT,
    "clip_lambda": rules.ADOPT,  # its authors' code, pytorch_optimizer
    "clip_exp": rules.ADOPT,  # timm
    "initial_accumulator": rules.Yogi,
    "blocks": rules.AdamMini,
    "momentum_decay": rules.NAdam,
}


def contents_under(kind: type[Rule], group: Mapping[str, Any]) -> Contents:
    """What each field of a rule's state contains, with the variants that a group chooses.

    Example:
        >>> contents_under(rules.StableAdamW, {"debias": "none", "lr": 0.1})
        {'m': 'EMA of g', 'v': 'EMA of g^2'}
    """
    choices = {
        name: group[name] for name, known in kind.choices.items() if group.get(name, ()) in known
    }
    return kind(**choices).contents()


def saved_contents(
    group: Mapping[str, Any], keys: Collection[str], where: str
) -> tuple[str, Contents]:
    """The rule that saved a group's state, and what the state contains.

    Args:
        group: a saved group.
        keys: the state keys of its parameters.
        where: for the error.

    Returns:
        ("", {}) if that cannot be identified, as for a group without label and state.

    Raises:
        BadInput: the label is damaged.
    """
    if LABEL not in group:
        return _identify(group, keys)
    label = group[LABEL]
    texts = label.get("state") if isinstance(label, Mapping) else None
    if not isinstance(texts, Mapping) or not all(
        isinstance(text, str) for pair in texts.items() for text in pair
    ):
        raise BadInput(f"{LABEL} in the state dict is damaged", value=label, where=where)
    return str(label.get("rule", "")), dict(texts)


def _identify(group: Mapping[str, Any], keys: Collection[str]) -> tuple[str, Contents]:
    """The same for a state dict without label (from torch, or version 0.1.0), identified by its
    keys.
    """
    kind = _identify_rule(group, keys)
    if kind is None:
        return "", {}
    state_keys = STATE | TORCH_STATE_KEYS.get(kind, {})
    names = state_keys if set(state_keys.values()) & set(keys) - set(STATE.values()) else STATE
    found = {names.get(name, name): text for name, text in contents_under(kind, group).items()}
    if "mu_product" in found:
        found["mu_product"] = found["mu_product"].removeprefix("1 - ")
    return kind.__name__, found


def _identify_rule(group: Mapping[str, Any], keys: Collection[str]) -> type[Rule] | None:
    # switched off during the run: torch keeps the maximum but does not read it
    if not group.get("amsgrad", True):
        keys = set(keys) - {"max_exp_avg_sq"}
    found = next((kind for key, kind in BY_STATE_KEY.items() if key in keys), None)
    if found is not None or "exp_avg" not in keys:
        return found
    if "exp_avg_sq" not in keys:
        return rules.Lion
    return next((kind for name, kind in BY_OPTION.items() if name in group), rules.Adam)


def matched_keys(saved: tuple[str, Contents], wanted: Contents, where: str) -> dict[str, str]:
    """The optimizer's key for each saved key: that of the tensor with the same contents.

    Args:
        saved: the rule that saved it, and what it contains.
        wanted: what the optimizer's state contains.
        where: for the error.

    Raises:
        BadInput: they do not contain the same.
    """
    rule, contents = saved
    if not contents or contents == wanted:
        return {}
    if sorted(contents.values()) != sorted(wanted.values()):
        raise BadInput(
            "The state dict is another rule's",
            value=f"{rule}: {_describe(contents)}",
            allowed=_describe(wanted),
            where=where,
        )
    keys = {text: key for key, text in wanted.items()}
    return {key: keys[text] for key, text in contents.items()}


def _describe(contents: Contents) -> str:
    return ", ".join(f"{key} = {text}" for key, text in contents.items())
